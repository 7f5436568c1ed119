"""Files that are whole or not there, that tell when they were damaged, and that belong to one process at a time."""
