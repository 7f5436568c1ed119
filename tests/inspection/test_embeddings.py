import numpy as np
import pytest

from minigpt.errors import UserError
from minigpt.inspection.embeddings import Embedding
from minigpt.tokenizers.word import WordTokenizer

WORDS = [" king", " queen", " man", " woman", "tree"]


@pytest.fixture
def embedding() -> Embedding:
    """Two directions, royal and female; all other tokens point elsewhere."""
    tokenizer = WordTokenizer(WORDS)
    vectors = np.zeros((tokenizer.vocab_size, 4), np.float32)
    vectors[:, 3] = 1
    vectors[256:261] = [[1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0], [0, 1, 1, 0], [-1, -1, 0, 1]]
    vectors[261] = [1, 1, 1, 0]  # end-of-text, which has no text
    return Embedding(vectors, tokenizer)


def test_neighbours_are_sorted_by_cosine_without_the_word_itself(embedding: Embedding) -> None:
    first, second = embedding.neighbours(embedding.token("king"), 2)
    assert (first.text, second.text) == (" queen", " man")
    assert first.cosine == pytest.approx(2 / np.sqrt(2 * 3))


def test_king_minus_man_plus_woman_is_queen(embedding: Embedding) -> None:
    question = [embedding.token(word) for word in ("king", "man", "woman")]
    assert embedding.analogy(*question, n=1)[0].text == " queen"
    assert [one.text for one in embedding.analogy(*question, n=300, exclude=False)].count(" king") == 1
    assert not {" king", " man", " woman"} & {one.text for one in embedding.analogy(*question, n=300)}


def test_tokens_without_text_are_nobodys_neighbours(embedding: Embedding) -> None:
    assert len(embedding.neighbours(embedding.token("queen"), 300)) == 260


def test_the_map_shows_the_two_directions_of_largest_spread() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(457, 8)).astype(np.float32) * [1, 1, 5, 1, 1, 9, 1, 1]
    embedding = Embedding(vectors.astype(np.float32), WordTokenizer([f"word{i}" for i in range(200)]))
    tokens, places = embedding.map(150)
    assert tokens == list(range(256, 406))  # not the bytes
    first, second = places.T
    assert abs(np.corrcoef(first, embedding.vectors[tokens, 5])[0, 1]) > 0.99
    assert abs(np.corrcoef(second, embedding.vectors[tokens, 2])[0, 1]) > 0.99
    bytes_only = Embedding(vectors[:257], WordTokenizer([]))
    assert bytes_only.map(1000)[0] == list(range(256))


def test_a_word_of_several_tokens_has_no_vector(embedding: Embedding) -> None:
    assert embedding.token("tree") == 260
    with pytest.raises(UserError, match=r"'ki' is not one token of this model but 2 \('k' \+ 'i'\)"):
        embedding.token("ki")
