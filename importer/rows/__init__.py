"""Rows to users or problems."""
