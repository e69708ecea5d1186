"""What rows of a file do to users, in SQLite, by temporary tables. See recorder."""
