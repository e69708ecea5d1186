"""Everything that a client can read, as templates, in each language."""
