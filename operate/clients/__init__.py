"""`rosterd client ...`: the commands that make, change and remove clients."""
