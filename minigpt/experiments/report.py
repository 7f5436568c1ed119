"""`report.html`: curves, samples and settings of a run as one self-contained page."""

import importlib.resources
from typing import Any

from jinja2 import Environment

from minigpt.recipes import load_recipe, to_yaml
from minigpt.runs import RunFolder
from minigpt.training.metrics import Metrics, read_metrics

CURVES = {
    "loss": "training loss (nats per token)",
    "validation_loss": "validation loss (nats per token)",
    "learning_rate": "learning rate",
    "gradient_norm": "norm of the gradient",
    "tokens_per_second": "tokens per second",
}


def write_report(folder: RunFolder) -> None:
    """Write the page from the run's config and metrics."""
    import plotly.io
    from plotly.offline import get_plotlyjs

    metrics = read_metrics(folder.metrics)
    template = importlib.resources.files("minigpt.experiments") / "templates" / "report.html.jinja"
    page = Environment(autoescape=True).from_string(template.read_text(encoding="utf-8"))
    charts = [
        plotly.io.to_html(chart, include_plotlyjs=False, full_html=False, config={"displaylogo": False})
        for chart in (
            _chart(metrics, ["loss", "validation_loss"]),
            *(_chart(metrics, [name]) for name in list(CURVES)[2:]),
        )
    ]
    samples = [line for line in metrics if "sample" in line]
    html = page.render(
        name=folder.path.name,
        plotly=get_plotlyjs(),
        charts=charts,
        samples=samples,
        last=samples[-1] if samples else None,
        config=to_yaml(load_recipe(folder.config)),
    )
    folder.report.write_text(html, encoding="utf-8")


def _chart(metrics: list[Metrics], names: list[str]) -> dict[str, Any]:
    """A plotly figure of some metrics over steps."""
    traces = []
    for name in names:
        lines = [line for line in metrics if name in line]
        mode = "lines" if name != "validation_loss" else "lines+markers"
        traces.append(
            {
                "type": "scatter",
                "mode": mode,
                "name": CURVES[name],
                "x": [line["step"] for line in lines],
                "y": [line[name] for line in lines],
            }
        )
    layout = {
        "height": 320,
        "margin": {"l": 60, "r": 20, "t": 40, "b": 40},
        "title": {"text": CURVES[names[0]] if len(names) == 1 else "loss (nats per token)"},
        "xaxis": {"title": {"text": "step"}},
        "legend": {"orientation": "h", "y": 1.15, "x": 1, "xanchor": "right"},
    }
    return {"data": traces, "layout": layout}
