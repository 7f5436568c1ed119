"""minigpt: a small GPT that you train, look inside and take with you."""

__version__ = "0.1.0"
