"""What is written for people to read: the clients' guide, the reference of settings, templates."""
