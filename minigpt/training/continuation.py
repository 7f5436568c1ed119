"""What a run that goes on must have in common with what it was, so that it goes on exactly."""

from typing import Any

from minigpt.config.hyperparameters import Config
from minigpt.errors import UserError
from minigpt.runs import Metadata
from minigpt.training.corpus import Corpus
from minigpt.training.distributed import Processes


def origins(config: Config, corpus: Corpus, processes: Processes) -> dict[str, Any]:
    """What every number of a run comes from, to be saved with its checkpoints."""
    return {
        "model": config.model.model_dump(),
        "tokenizer": corpus.tokenizer.fingerprint,
        "text": corpus.text,
        "seed": config.run.seed,
        "processes": processes.world_size,
    }


def check_origins(config: Config, before: Metadata, now: dict[str, Any]) -> None:
    """UserError where a run would go on as another one."""
    if now["text"] != before.text:
        raise UserError(
            f"data.source = {config.data.source}: is not the text that this run has learned from so far; name that "
            "text, wherever it lies now, with data.source=PATH, or begin a new run"
        )
    if now["seed"] != before.seed:
        raise UserError(
            f"run.seed = {now['seed']}: this run's random numbers come from {before.seed}; "
            "leave run.seed away, or begin a new run"
        )
    if now["processes"] != before.processes and config.model.dropout:
        raise UserError(
            f"torchrun: model.dropout = {config.model.dropout} of {now['processes']} processes is not that of "
            f"{before.processes}, by which this run was trained so far; start so many with --nproc-per-node"
        )
