"""What is wrong with the host, besides what an import or a mail meets."""
