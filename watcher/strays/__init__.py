"""Strays: files in the inboxes that are never imported, because of their names or folders; and how clients are told."""
