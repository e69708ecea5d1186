"""What leaves this host: mail, and events for webhooks."""
