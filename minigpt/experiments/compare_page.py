"""A comparison of runs as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from minigpt.experiments.charts import AXES, LOG, chart, curve, level, smoothed
from minigpt.experiments.compare import Comparison
from minigpt.experiments.pages import render
from minigpt.runs import RunFolder
from minigpt.storage.metrics import Metrics
from minigpt.training.metrics import read_metrics

TITLES = {
    "loss": ("validation loss (nats per token)", "training loss (nats per token, running mean)"),
    "bits_per_byte": (
        "bits per byte of the validation text",
        "bits per byte of the training text (running mean, as if its tokens were as long as the validation text's)",
    ),
}


def compare_page(comparison: Comparison, samples: Sequence[tuple[str, str]]) -> str:
    """The comparison as a page (HTML), with what each run wrote."""
    seeds = [["setting", "seeds", f"mean {comparison.measure}", "spread"]]
    for one in comparison.settings:
        spread = "" if one.spread is None else f"{one.spread:.4f}"
        seeds.append([one.name, str(len(one.results)), f"{one.mean:.4f}", spread])
    return render(
        "compare.html.jinja",
        comparison=comparison,
        rows=comparison.rows(),
        seeds=seeds,
        axes=AXES,
        charts=charts(comparison),
        samples=samples,
    )


def charts(comparison: Comparison) -> list[Markup]:
    """What the runs are judged by along their progress, on the validation text and on the training text."""
    runs = {run.run: measured(read_metrics(RunFolder(Path(run.run))), comparison.measure) for run in comparison.runs}
    means = {run: smoothed(lines, "training") for run, lines in runs.items()}
    floors = {round(line["floor"], 4): lines for lines in runs.values() for line in lines if "floor" in line}
    longest = max(runs.values(), key=len)

    def validation(axis: str) -> list[dict[str, Any]]:
        curves = [curve(run, lines, "validation", axis) for run, lines in runs.items()]
        return [*curves, *(level("entropy", longest, floor, axis) for floor in floors)]

    def training(axis: str) -> list[dict[str, Any]]:
        return [curve(run, lines, "training", axis) for run, lines in means.items()]

    below = {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0}
    return [
        chart(
            title,
            curves("step"),
            axes={axis: [one["x"] for one in curves(axis)] for axis in AXES},
            height=460,
            legend=below,
            yaxis=LOG,
        )
        for title, curves in zip(TITLES[comparison.measure], (validation, training), strict=True)
    ]


def measured(metrics: Sequence[Metrics], measure: str) -> list[Metrics]:
    """Lines of metrics with `validation`, `training` and the entropy, `floor`, in what runs are judged by."""
    evaluations = [line for line in metrics if "validation_loss" in line]
    last = evaluations[-1] if evaluations else {"validation_loss": 1.0, "bits_per_byte": 1.0}
    unit = 1.0 if measure == "loss" else last["bits_per_byte"] / last["validation_loss"]
    keys = {"validation_loss": "validation", "loss": "training", "entropy": "floor"}
    progress = ({axis: line[axis] for axis in AXES} for line in metrics)
    return [
        {**place, **{new: unit * line[key] for key, new in keys.items() if key in line}}
        for place, line in zip(progress, metrics, strict=True)
    ]
