"""Everything that depends on the machine. No other room asks it what it can do."""
