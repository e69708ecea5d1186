"""What all tables have to look like, and tables that go with nothing else in this folder."""
