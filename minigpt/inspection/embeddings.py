"""What a model's vectors know of its words: neighbours, analogies, a map of the vocabulary."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError, nearest
from minigpt.runs import Run
from minigpt.tokenizers import Tokenizer

Vectors = NDArray[np.float32]
SHOWN, LONG = 8, 80
"""Pieces and letters of a wrong word that are told."""


@dataclass(frozen=True)
class Neighbour:
    """A token, its text, and the cosine between its vector and the one that was asked for."""

    token: int
    text: str
    cosine: float


class Embedding:
    """The vectors of a vocabulary (V D), all brought to length 1: what counts is their direction."""

    def __init__(self, vectors: Vectors, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._silent = [token for token, piece in enumerate(tokenizer.token_bytes) if not piece]
        self.vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    @classmethod
    def of(cls, run: Run) -> "Embedding":
        """The input embedding of a trained model; with tied embeddings it is the output matrix as well."""
        return cls(run.model.token_embedding.weight.detach().float().cpu().numpy(), run.tokenizer)

    def token(self, word: str) -> int:
        """The one token that is `word`, as it stands in a text or, where there is none, at its beginning.

        UserError where the word is several tokens: then no vector stands for it.
        """
        token = self.find(word)
        if token is not None:
            return token
        ids = self.tokenizer.encode(word).tolist()
        pieces = [self.tokenizer.token_bytes[token].decode(errors="replace") for token in ids[:SHOWN]]
        shown = " + ".join([*map(repr, pieces), *(["..."] if len(ids) > SHOWN else [])])
        raise UserError(
            f"'{word[:LONG]}' is not one token of this model but {len(ids)} ({shown}), so no vector "
            f"stands for it{nearest(word, self._words()) or '; choose a word of its vocabulary'}"
        )

    def find(self, word: str) -> int | None:
        """The one token that is `word`, or None."""
        for text in (f" {word}", word):
            ids = self.tokenizer.encode(text).tolist()
            if len(ids) == 1:
                return int(ids[0])
        return None

    def neighbours(self, token: int, n: int = 8) -> list[Neighbour]:
        """The tokens whose vectors point most nearly where the vector of `token` does, itself left out."""
        return self._nearest(self.vectors[token], n, [token])

    def analogy(self, a: int, b: int, c: int, n: int = 8, exclude: bool = True) -> list[Neighbour]:
        """The tokens nearest to a - b + c (Mikolov 2013), as king - man + woman; `exclude`: but those three."""
        return self._nearest(self.vectors[a] - self.vectors[b] + self.vectors[c], n, [a, b, c] if exclude else [])

    def map(self, n: int) -> tuple[list[int], Vectors]:
        """The first `n` tokens of more than one byte, where there are some, and their coordinates (n 2).

        Those are on the two directions in which these vectors differ most: PCA (Pearson 1901). Single bytes stand for
        hardly anything where a vocabulary has words, and lie far away.
        """
        pieces = self.tokenizer.token_bytes
        tokens = [i for i, piece in enumerate(pieces) if len(piece) > 1] or [
            i for i, piece in enumerate(pieces) if piece
        ]
        vectors = self.vectors[tokens[:n]]
        centred = vectors - vectors.mean(0)
        _, directions = np.linalg.eigh(centred.T @ centred)  # ascending
        return tokens[:n], np.asarray(centred @ directions[:, :-3:-1])

    def _words(self) -> list[str]:
        """Tokens of several characters that stand for themselves."""
        texts = {piece.decode(errors="ignore").strip() for piece in self.tokenizer.token_bytes}
        return [text for text in texts if len(text) > 1]

    def _nearest(self, vector: Vectors, n: int, excluded: Sequence[int]) -> list[Neighbour]:
        cosines = self.vectors @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
        cosines[[*self._silent, *excluded]] = -2
        best = np.argsort(-cosines)[:n]
        return [Neighbour(int(i), self.tokenizer.decode([int(i)]), float(cosines[i])) for i in best if cosines[i] > -2]
