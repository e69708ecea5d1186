"""Questions of the console: the newest imports that fit a filter, and what came each day."""
