"""What `--help` shows each command doing."""

EXAMPLES = {
    "": (
        "minigpt train configs/stories.yaml",
        'minigpt sample runs/stories --prompt "Alice gave Bob" --seed 7',
        "minigpt explain runs/stories --serve",
    ),
    "train": (
        "minigpt train configs/stories.yaml",
        "minigpt train configs/auto.yaml data.source=data/mine.txt",
        "minigpt train --resume runs/stories",
    ),
    "sample": (
        'minigpt sample runs/stories --prompt "Alice gave Bob" --seed 7',
        "minigpt sample runs/stories --n-samples 3 --temperature 0.5 --top-p 0.9",
        "minigpt sample runs/stories --interactive",
    ),
    "evaluate": (
        "minigpt evaluate runs/stories",
        "minigpt evaluate runs/stories --text data/mine.txt --stride 32",
        "minigpt evaluate runs/stories --claims",
    ),
    "explain": (
        'minigpt explain runs/stories --prompt "Alice gave Bob"',
        'minigpt explain runs/stories --prompt "Alice gave Bob" --without 1.1',
        "minigpt explain runs/stories --serve",
    ),
    "tokenize": (
        'minigpt tokenize "Alice gave Bob her book"',
        'minigpt tokenize "Alice gave Bob her book" --tokenizer runs/stories',
        "minigpt tokenize --serve",
    ),
    "embeddings": (
        "minigpt embeddings runs/stories queen",
        "minigpt embeddings runs/stories queen --analogy king man woman",
    ),
    "compare": (
        "minigpt compare runs/stories runs/other",
        'minigpt compare runs/stories runs/other --prompt "Alice gave Bob"',
    ),
    "sweep": (
        "minigpt sweep configs/sweeps/stories.yaml",
        "minigpt sweep configs/sweeps/stories.yaml --workers 2",
    ),
    "config": (
        "minigpt config configs/stories.yaml model.n_layers=6",
        "minigpt config configs/auto.yaml data.source=data/mine.txt",
    ),
    "export": (
        "minigpt export runs/stories --output exports/stories",
        "minigpt export runs/stories --output exports/stories.gguf",
    ),
    "import": (
        "minigpt import exports/stories --output runs/back",
        "minigpt import exports/stories.gguf --output runs/back",
    ),
}


def epilog(command: str) -> str:
    """The end of a command's help."""
    as_it_stands = "\b"  # click's mark of lines that it does not fill
    return "\n".join((as_it_stands, "Examples:", *(f"  {example}" for example in EXAMPLES[command])))
