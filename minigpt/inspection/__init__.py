"""The view inside a trained model."""
