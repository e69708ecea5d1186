"""Copies of the database, for other places and for other readers."""
