"""`rosterd client`: logins, folders and settings, made and removed together."""
