"""What is PostgreSQL's alone. See docs/architecture.md."""
