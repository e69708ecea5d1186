"""Letters: composed, stored, sent."""
