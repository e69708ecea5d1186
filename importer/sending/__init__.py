"""What mail and webhooks have in common: the thread that sends, when it tries again, and how it connects."""
