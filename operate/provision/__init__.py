"""What a client has on the host: login, keys, folders, settings; read, and changed in steps."""
