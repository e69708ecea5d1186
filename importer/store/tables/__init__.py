"""Tables that go with nothing else in this folder, and their statements."""
