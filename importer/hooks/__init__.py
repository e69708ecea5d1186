"""Webhooks: events to be told to a URL, queued and delivered."""
