"""What the explain page's guided tour shows besides the reader's own text."""

from contextlib import suppress
from typing import Any

from minigpt.errors import UserError
from minigpt.inspection.packing import ROOM
from minigpt.inspection.page_data import text_data
from minigpt.runs import Run
from minigpt.tokenizers import build_tokenizer, load_tokenizer
from minigpt.tokenizers.compare import tokenize, visible
from minigpt.tokenizers.find import STORIES

SENTENCES = ("A cat sat.", "Alice gave Bob her book")


def tour_data(run: Run) -> dict[str, Any]:
    """Its sentences under this model, where a page has room for them, and the first of them cut by other tokenizers.

    What this model cannot read is left out: the tour then goes on with the reader's own text.
    """
    texts, sides = dict[str, Any](), list[dict[str, Any]]()
    for text in SENTENCES if run.model.n_parameters() <= ROOM else ():
        with suppress(UserError):
            texts[text] = text_data(run, text, learning=False, others=False)
    tokenizers = {"this model": run.tokenizer, "subwords": load_tokenizer(STORIES)}
    if run.tokenizer.kind != "byte":
        tokenizers["bytes"] = build_tokenizer("byte", 0, [])
    for name, tokenizer in tokenizers.items():
        with suppress(UserError):
            tokens = tokenize(SENTENCES[0], name, tokenizer).tokens
            sides.append(
                {"name": name, "vocabulary": tokenizer.vocab_size, "pieces": [visible(token.piece) for token in tokens]}
            )
    return {"sentences": SENTENCES, "texts": texts, "sides": sides}
