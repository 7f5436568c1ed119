"""A model prepared for inference."""
