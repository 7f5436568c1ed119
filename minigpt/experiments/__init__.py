"""What runs will cost, what they did, side by side and over time."""
