"""From one claimed file to recorded users and one receipt; knows nothing of folders, events or processes."""
