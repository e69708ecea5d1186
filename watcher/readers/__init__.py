"""What people and programs may read who may not read the database."""
