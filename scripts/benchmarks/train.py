"""`benchmark.py train`: time to a loss."""

import json
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.workbench import CONFIGS, JsonOption, RepeatsOption, TextOption, report, run_minigpt

LOSS = 1.886
"""Full validation loss of the classical laptop recipe, in nats per character."""


def train(text: TextOption = None, repeats: RepeatsOption = 3, as_json: JsonOption = False) -> None:
    """Seconds from the trainer's first line to the loss of the classical laptop recipe, and that recipe's own."""
    recipes = {"classical": CONFIGS / "baselines/shakespeare_laptop.yaml", "minigpt": CONFIGS / "shakespeare_fast.yaml"}
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in recipes}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(repeats):
            for side, recipe in recipes.items():
                changes = [f"data.directory={place}/data", f"run.directory={place}/{side}{turn}", f"run.seed={turn}"]
                changes += [f"data.source={text.absolute()}"] if text else []
                runs[side].append(time_to_loss(recipe, Path(place) / f"{side}{turn}", changes, LOSS))
    figures = {
        side: {key: median(run[key] for run in done) for key in ("seconds", "loss")} for side, done in runs.items()
    }
    document = {
        "speedup": figures["classical"]["seconds"] / figures["minigpt"]["seconds"],
        "target": 10,
        "loss": LOSS,
        "reached": figures["minigpt"]["loss"] <= LOSS,
        **figures,
        "runs": runs,
    }
    rows = [[side, f"{f['seconds']:.1f}", f"{f['loss']:.4f}"] for side, f in figures.items()]
    reached = "" if document["reached"] else f", but the loss of {LOSS} was not reached"
    report(document, ["recipe", "seconds", "loss"], rows, f"{document['speedup']:.1f} times as fast{reached}", as_json)


def time_to_loss(recipe: Path, folder: Path, changes: list[str], loss: float) -> dict[str, float]:
    """Train; the trainer's seconds up to the first evaluation that finds `loss` or less, or else to the last one."""
    run_minigpt("train", recipe, *changes)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    evaluations = [line for line in lines if "validation_loss" in line]
    reached = next((line for line in evaluations if line["validation_loss"] <= loss), evaluations[-1])
    return {"seconds": reached["seconds"], "loss": reached["validation_loss"]}
