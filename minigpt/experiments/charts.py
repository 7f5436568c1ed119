"""Curves as parts of a page: plotly figures, which the page's own copy of plotly.js draws."""

import base64
import gzip
import importlib.resources
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from minigpt.storage.metrics import Metrics

AXES = ("step", "tokens", "seconds")
"""What progress can be measured in."""


def curve(name: str, metrics: Sequence[Metrics], key: str, axis: str = "step", **look: Any) -> dict[str, Any]:
    """One metric of a run along its progress, of the lines that have it, or of each so manieth where they are many."""
    lines = [line for line in metrics if key in line]
    lines = lines[:: -(len(lines) // DRAWN + 1)][::-1]
    mode = "lines+markers" if len(lines) <= MARKED else "lines"
    x, y = [line[axis] for line in lines], [line[key] for line in lines]
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, **look}


def level(name: str, metrics: Sequence[Metrics], value: float, axis: str = "step") -> dict[str, Any]:
    """A value that stays the same along a run's progress."""
    ends = [line[axis] for line in (metrics[0], metrics[-1])]
    look = {"mode": "lines", "line": {"dash": "dash", "color": "#2f8f5b"}}
    return {"type": "scatter", "name": name, "x": ends, "y": [value, value], **look}


MARKED, DRAWN = 40, 2000
"""Points up to which each is marked, and about how many a curve has."""
LOG = {"type": "log", "tickformat": ".3~g"}
"""An axis for losses, on which small differences at the end show."""
AXIS = {
    "gridcolor": "rgba(128,128,128,.2)",
    "zerolinecolor": "rgba(128,128,128,.5)",
    "automargin": True,
    "exponentformat": "none",
}
"""What all axes have, on light paper and on dark."""


def smoothed(metrics: Sequence[Metrics], key: str) -> list[Metrics]:
    """The lines that have the metric, with its running mean: exponential, over a hundredth of them, there and back.

    A mean that only goes there is late, and crosses what it is the mean of.
    """
    lines = [line for line in metrics if key in line]
    keep = 1 - 1 / max(1.0, len(lines) / 100)
    for _ in range(2):
        mean, weight, result = 0.0, 0.0, []
        for line in lines:
            mean, weight = keep * mean + line[key], keep * weight + 1
            result.append({**line, key: mean / weight})
        lines = result[::-1]
    return lines


def chart(
    title: str,
    curves: Sequence[Mapping[str, Any]],
    x_title: str = "step",
    told: str | None = None,
    axes: Mapping[str, Any] | None = None,
    **layout: Any,
) -> Markup:
    """A figure with some curves, as HTML.

    `told` is said to whoever cannot see it, otherwise where each curve begins and ends. `axes` are other x values that
    the page's control may ask for.
    """
    whole = {
        "height": 340,
        "margin": {"l": 60, "r": 20, "t": 30, "b": 40},
        "template": {"layout": {"xaxis": AXIS, "yaxis": AXIS}},
        "xaxis": {"title": {"text": x_title}},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(128,128,128,.06)",
        "font": {"color": "#767b88"},
        **layout,
    }
    figure = json.dumps({"data": list(curves), "layout": whole, "axes": axes})
    label = escape(f"{title}: {told or summary(curves)}")
    return Markup(  # noqa: S704 - no text can end the element that it stands in
        f'<h3>{escape(title)}</h3><div class="chart" role="img" aria-label="{label}"></div>'
        f'<script type="application/json">{figure.replace("<", chr(92) + "u003c")}</script>'
    )


def summary(curves: Sequence[Mapping[str, Any]]) -> str:
    """Where curves begin and end, for those who cannot see them."""
    drawn = [curve for curve in curves if curve.get("hoverinfo") != "skip" and len(curve["y"])]
    return "; ".join(
        f"{curve.get('name', 'values')} from {short(curve['y'][0])} at {short(curve['x'][0])} "
        f"to {short(curve['y'][-1])} at {short(curve['x'][-1])}"
        for curve in drawn
    )


def short(value: object) -> str:
    """A value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@cache
def plotly_library() -> str:
    """The library that draws the figures, for a page that asks nothing of the network: gzip in base64."""
    script = importlib.resources.files("plotly") / "package_data" / "plotly.min.js"
    return base64.b64encode(gzip.compress(script.read_bytes(), 6, mtime=0)).decode()
