"""From an event in an inbox to a claim, and from the claim to the archive."""
