"""The picture of a test of learning rates."""

from minigpt.experiments.charts import chart
from minigpt.experiments.pages import render
from minigpt.training.rehearsal import RateTest


def rate_page(name: str, test: RateTest, findings: list[str]) -> str:
    """The loss over the learning rate, with the suggestion dotted (HTML)."""
    losses = {"type": "scatter", "mode": "lines", "name": "loss", "x": test.rates, "y": test.losses}
    mark = {"type": "line", "x0": test.suggestion, "x1": test.suggestion, "y0": 0, "y1": 1, "yref": "paper"}
    dotted = {**mark, "line": {"dash": "dot", "color": "#d66014"}}
    picture = chart(
        "training loss while the learning rate is raised",
        [losses],
        height=460,
        shapes=[dotted] if test.suggestion else [],
        xaxis={"title": {"text": "optimizer.learning_rate"}, "type": "log"},
    )
    return render("rates.html.jinja", name=name, chart=picture, findings=findings)
