"""Learn the subword tokenizer that minigpt brings along, `stories`, anew from the built-in stories."""

from minigpt.data.stories import generate
from minigpt.tokenizers import Tokenizer, build_tokenizer
from minigpt.tokenizers.find import STORIES


def learn() -> Tokenizer:
    """The same tokenizer each time."""
    return build_tokenizer("bpe", 4096, generate(5_000, seed=0))


if __name__ == "__main__":
    learn().save(STORIES)
