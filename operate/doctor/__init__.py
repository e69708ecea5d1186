"""`rosterd doctor`: what it checks."""
