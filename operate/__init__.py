"""The operator's commands: what they read, and what they change through the service or in its place."""
