"""The operator's commands: what they read, and what they change through the daemon or in its place."""
