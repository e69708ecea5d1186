"""What a client gets back for one file: failed CSV, result text, mail."""
