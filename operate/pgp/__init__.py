"""`rosterd pgp`: our key and the keys of clients."""
