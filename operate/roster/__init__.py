"""What happened to users and what the operator does about it; files on hold."""
