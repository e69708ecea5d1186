"""`rosterd store`: the database itself."""
