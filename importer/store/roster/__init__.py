"""Who of the users is active, what happened to each, and what a file would change: history, undo, guards."""
