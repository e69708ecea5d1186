"""The folder in which clients try files out: checked like an import, answered there, without any other effect."""
