"""What is SQLite's alone: the connection, its errors, the tables as they are made, copies of the file."""
