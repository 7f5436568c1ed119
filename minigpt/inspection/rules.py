"""Rules that a head may follow when it looks at other tokens. Axis letters as in `habits.py`."""

import re
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.tokenizers import Tokenizer

NEAR = 8
"""Tokens before one that are near it."""
PRONOUNS = {"he", "she", "him", "her", "his", "hers", "they", "them", "their"}


def rules(tokenizer: Tokenizer) -> dict[str, Callable[[Tensor], Tensor]]:
    """For token ids (B T) where a head would look from each position if it followed a rule (B T S); never ahead."""
    texts = [piece.decode(errors="ignore").strip() for piece in tokenizer.token_bytes]
    known = set(texts)
    names = torch.tensor([bool(re.fullmatch("[A-Z][a-z]+", text)) and text.lower() not in known for text in texts])
    pronouns = torch.tensor([text.lower() in PRONOUNS for text in texts])

    def same(ids: Tensor) -> Tensor:
        return ids[:, :, None] == ids[:, None, :]

    def back(ids: Tensor, nearest: int, farthest: int) -> Tensor:
        there = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril(-nearest).triu(-farthest)
        return there.expand(len(ids), -1, -1)

    def beginning(ids: Tensor) -> Tensor:
        starts = ids == tokenizer.begin_of_text
        starts[:, 0] = True
        return starts[:, None, :].expand(-1, ids.shape[1], -1).tril()

    def own_document(ids: Tensor) -> Tensor:
        documents = (ids == tokenizer.begin_of_text).cumsum(1)
        return same(documents).tril()

    return {
        "itself": lambda ids: back(ids, 0, 0),
        "the token before": lambda ids: back(ids, 1, 1),
        f"one of the {NEAR} tokens before": lambda ids: back(ids, 1, NEAR),
        "a beginning": beginning,
        "its own document": own_document,
        "the same token earlier": lambda ids: same(ids).tril(-1),
        "what followed the same token": lambda ids: F.pad(same(ids)[:, :, :-1], (1, 0)).tril(),
        "from a pronoun, a name": lambda ids: (pronouns[ids][:, :, None] & names[ids][:, None, :]).tril(),
    }
