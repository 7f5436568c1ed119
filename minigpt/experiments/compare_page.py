"""A comparison of runs as a page."""

from collections.abc import Sequence
from pathlib import Path

from minigpt.experiments.charts import LOG, axis_buttons, chart, curve
from minigpt.experiments.compare import Comparison
from minigpt.experiments.pages import render
from minigpt.runs import RunFolder
from minigpt.training.metrics import read_metrics


def compare_page(comparison: Comparison, samples: Sequence[tuple[str, str]]) -> str:
    """The comparison as a page (HTML), with what each run wrote."""
    metrics = [read_metrics(RunFolder(Path(run.run))) for run in comparison.runs]
    key = "validation_loss" if comparison.measure == "loss" else comparison.measure
    loss = chart(
        {"loss": "validation loss (nats per token)", "bits_per_byte": "bits per byte"}[comparison.measure],
        [curve(run.run, lines, key) for run, lines in zip(comparison.runs, metrics, strict=True)],
        height=460,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        updatemenus=axis_buttons(metrics, key),
        yaxis=LOG,
    )
    return render("compare.html.jinja", comparison=comparison, rows=comparison.rows(), chart=loss, samples=samples)
