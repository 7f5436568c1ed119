"""The machine: what it is, what it can do, and how that is used."""
