"""What the operator and monitoring are told of the service."""
