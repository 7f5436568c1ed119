"""In which hyperparameters runs differ, but for those that only follow from others."""

from collections.abc import Sequence
from typing import Any

from minigpt.config.hyperparameters import Config
from minigpt.config.keys import flatten, follows

PLACES = ("run.name", "run.directory", "data.directory", "data.sha256")
"""Keys that say where something is; they mean nothing here."""
CAUSES = {
    "model.vocab_size": ("tokenizer.", "data."),
    "training.init_sha256": ("training.init_from", "training.init_checkpoint"),
    "sampling.begin_document": ("model.context_length", "tokenizer.", "data."),
    "sampling.precision": ("run.precision",),
}
"""Keys that training fills in, and from which others."""


def differences(configs: Sequence[Config], same_text: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What all have in common by `section.key`, and for each what sets it apart.

    Places do not count, nor does `data.source` where it is the `same_text`.
    """
    flat = [flatten(config) for config in configs]
    places = (*PLACES, "data.source") if same_text else PLACES
    apart = {key for key in flat[0] if len({repr(one[key]) for one in flat}) > 1 and key not in places}
    shown = [key for key in flat[0] if key in apart and not _follows(key, configs, apart)]
    common = {key: value for key, value in flat[0].items() if key not in apart and key not in places}
    return common, [{key: one[key] for key in shown} for one in flat]


def _follows(key: str, configs: Sequence[Config], apart: set[str]) -> bool:
    """Whether a key differs for no other reason than that others do."""
    return all(follows(config, key) for config in configs) or any(
        other.startswith(CAUSES.get(key, ())) for other in apart
    )
