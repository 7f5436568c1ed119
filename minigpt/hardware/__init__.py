"""The machine: everything that depends on it is asked here."""
