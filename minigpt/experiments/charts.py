"""Curves as parts of a page: plotly figures, which the page's own copy of plotly.js draws."""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from markupsafe import Markup

from minigpt.training.metrics import Metrics

AXES = {"step": "steps", "tokens": "tokens", "seconds": "seconds"}
"""What progress can be measured in."""


def curve(name: str, metrics: Sequence[Metrics], key: str, axis: str = "step", **look: Any) -> dict[str, Any]:
    """One metric of a run along its progress, of the lines that have it."""
    lines = [line for line in metrics if key in line]
    mode = "lines+markers" if len(lines) <= MARKED else "lines"
    x, y = [line[axis] for line in lines], [line[key] for line in lines]
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, **look}


MARKED = 40
"""Points up to which each is marked."""
LOG = {"type": "log", "dtick": "D2", "exponentformat": "none"}
"""An axis for losses, on which small differences at the end show."""


def smoothed(metrics: Sequence[Metrics], key: str, share: float = 0.01) -> list[Metrics]:
    """The lines that have the metric, with its running mean: exponential, over `share` of them."""
    lines = [line for line in metrics if key in line]
    keep, mean, weight = 1 - 1 / max(1.0, share * len(lines)), 0.0, 0.0
    result = []
    for line in lines:
        mean, weight = keep * mean + line[key], keep * weight + 1
        result.append({**line, key: mean / weight})
    return result


def chart(title: str, curves: Sequence[Mapping[str, Any]], x_title: str = "step", **layout: Any) -> Markup:
    """A figure with some curves, as HTML."""
    whole = {
        "height": 340,
        "margin": {"l": 60, "r": 20, "t": 60, "b": 40},
        "title": {"text": title, "x": 0, "xref": "paper", "font": {"size": 16}},
        "xaxis": {"title": {"text": x_title}},
        "legend": {"orientation": "h", "y": 1.12, "x": 1, "xanchor": "right"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(128,128,128,.06)",
        "font": {"color": "#767b88"},
        **layout,
    }
    figure = json.dumps({"data": list(curves), "layout": whole, "config": {"displaylogo": False, "responsive": True}})
    return Markup(  # noqa: S704 - no text can end the element that it stands in
        '<div class="chart"></div><script>Plotly.newPlot(document.currentScript.previousElementSibling, '
        f"{figure.replace('<', chr(92) + 'u003c')})</script>"
    )


@cache
def plotly_script() -> Markup:
    """The library that draws the figures, for a page that asks nothing of the network."""
    script = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return Markup(script.read_text(encoding="utf-8"))  # noqa: S704 - a well-known library


def axis_buttons(runs: Sequence[Sequence[Metrics]], key: str) -> list[dict[str, Any]]:
    """Buttons over a chart with one curve per run, that measure progress in something else."""
    buttons = [
        {
            "label": label,
            "method": "update",
            "args": [
                {"x": [[line[axis] for line in metrics if key in line] for metrics in runs]},
                {"xaxis.title.text": label},
            ],
        }
        for axis, label in AXES.items()
    ]
    return [{"type": "buttons", "direction": "left", "x": 0, "xanchor": "left", "y": 1.13, "buttons": buttons}]
