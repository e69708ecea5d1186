"""Who gets in: users, their sessions, how many passwords may be tried, and the gate that every request passes."""
