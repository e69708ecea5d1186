"""Alerts, status, metrics and heartbeat: the health of the service, for the operator and for monitoring."""
