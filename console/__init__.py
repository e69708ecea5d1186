"""The operator's web page: a process of its own that reads the database and gives orders by the control socket."""
