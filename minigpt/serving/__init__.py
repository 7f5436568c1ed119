"""What minigpt serves on this machine."""
