"""One step in front of the file: an upload of any accepted kind in, the CSV in it out."""
