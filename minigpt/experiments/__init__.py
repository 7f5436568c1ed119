"""What runs did, side by side and over time."""
