"""From an upload in an inbox to a claim, and the process around it: folders, time, signals, the command line."""
