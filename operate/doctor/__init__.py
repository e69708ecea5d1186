"""`rosterd doctor`: what it looks at."""
