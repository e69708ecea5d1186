"""What looks wrong in values of one kind: addresses, days."""
