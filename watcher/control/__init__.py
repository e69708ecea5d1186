"""What the operator orders of the running service."""
