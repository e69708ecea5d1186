"""The claims as the loop sees them, and the threads that work on several at a time."""
