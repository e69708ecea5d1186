"""What is PostgreSQL's alone. Not complete: no setting leads here yet, only tests use it. See docs/architecture.md."""
