"""What is PostgreSQL's alone. Not complete: only tests and `rosterd store copy` use it. See docs/architecture.md."""
