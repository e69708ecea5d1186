"""From an upload in an inbox to a claim, and the service around it: folders, clocks, signals, orders."""
