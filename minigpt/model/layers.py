"""torch's layers, without the weights that torch draws: `GPT.initialise` draws others, or a checkpoint has them."""

from torch import nn


class Linear(nn.Linear):
    """Whose weights are yet to come."""

    def reset_parameters(self) -> None:
        """Nothing is drawn, which takes a second for 124M weights."""


class Embedding(nn.Embedding):
    """Whose vectors are yet to come."""

    def reset_parameters(self) -> None:
        """Nothing is drawn."""
