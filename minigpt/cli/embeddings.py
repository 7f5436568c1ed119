"""`minigpt embeddings`: which words are near each other."""

import json
from typing import Annotated

import typer

from minigpt.cli.options import CheckpointOption, JsonOption, RunArgument
from minigpt.errors import UserError

STAYS = "\n  (the nearest is a word of the question: the sum does not lead away from it)"


def embeddings(
    run: RunArgument,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD ...]", help="Words to find neighbours of.")
    ] = None,
    analogy: Annotated[
        tuple[str, str, str] | None,
        typer.Option(metavar="A B C", help="A is to B as what is to C? king man woman asks for king - man + woman."),
    ] = None,
    n: Annotated[int, typer.Option(min=1, max=1000, help="Neighbours to show.")] = 8,
    checkpoint: CheckpointOption = "best",
    as_json: JsonOption = False,
) -> None:
    """Ask a model's vectors which words are near each other."""
    if not words and analogy is None:
        raise UserError("command line: name words, such as king queen, or --analogy king man woman")
    from minigpt.inspection.embeddings import Embedding
    from minigpt.runs import load_run
    from minigpt.tokenizers.compare import visible

    embedding = Embedding.of(load_run(run, checkpoint))
    answers = {word: embedding.neighbours(embedding.token(word), n) for word in words or []}
    if analogy is not None:
        a, b, c = (embedding.token(word) for word in analogy)
        question = f"{analogy[0]} - {analogy[1]} + {analogy[2]}"
        answers[question] = embedding.analogy(a, b, c, n)
        answers[f"{question}, its own words not excluded"] = embedding.analogy(a, b, c, n, exclude=False)
    if as_json:
        document = {question: [vars(one) for one in found] for question, found in answers.items()}
        typer.echo(json.dumps(document))
        return
    for question, found in answers.items():
        shown = ", ".join(f"{visible((one.text.strip() or one.text).encode())} {one.cosine:.2f}" for one in found)
        stays = analogy is not None and question.endswith("excluded") and found[0].text.strip() in analogy
        typer.echo(f"{question}: {shown}{STAYS if stays else ''}")
