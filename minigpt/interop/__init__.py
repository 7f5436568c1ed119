"""Taking a model to the tools that everyone else runs."""
