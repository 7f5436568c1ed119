"""A comparison of runs as a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minigpt.experiments.charts import LOG, axis_buttons, chart, curve, smoothed
from minigpt.experiments.compare import Comparison
from minigpt.experiments.pages import render
from minigpt.runs import RunFolder
from minigpt.training.metrics import read_metrics

COLOURS = ("#3457d5", "#d66014", "#2a8f5b", "#a03ab0", "#b8860b", "#c0392b", "#0f8b9d", "#6b7280")


def compare_page(comparison: Comparison, samples: Sequence[tuple[str, str]]) -> str:
    """The comparison as a page (HTML), with what each run wrote."""
    key = "validation_loss" if comparison.measure == "loss" else comparison.measure
    curves, drawn = [], []
    for i, run in enumerate(comparison.runs):
        metrics, colour = read_metrics(RunFolder(Path(run.run))), COLOURS[i % len(COLOURS)]
        drawn.append((metrics, key))
        curves.append(curve(run.run, metrics, key, legendgroup=run.run, line={"color": colour}))
        if key == "validation_loss":
            training = smoothed(metrics, "loss")
            pale: dict[str, Any] = {
                "opacity": 0.45,
                "showlegend": False,
                "line": {"color": colour, "dash": "dot", "width": 1},
            }
            drawn.append((training, "loss"))
            curves.append(curve(f"{run.run}, training", training, "loss", legendgroup=run.run, **pale))
    loss = chart(
        {
            "loss": "loss (nats per token) of validation text and, dotted, of training text",
            "bits_per_byte": "bits per byte of validation text",
        }[comparison.measure],
        curves,
        height=460,
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        updatemenus=axis_buttons(drawn),
        yaxis=LOG,
    )
    return render("compare.html.jinja", comparison=comparison, rows=comparison.rows(), chart=loss, samples=samples)
