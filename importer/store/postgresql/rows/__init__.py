"""What rows of a file do to users, in PostgreSQL: decided on a working copy of those concerned. See recorder."""
