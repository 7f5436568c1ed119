"""The transformer, from token ids to logits."""
