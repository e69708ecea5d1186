"""Orders of the operator to the running service."""
