"""Files on hold: who decides on them, and when they are given up."""
