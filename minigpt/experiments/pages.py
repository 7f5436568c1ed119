"""Pages about runs, each one file: a template filled in with escaped text, its style and its library."""

from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from minigpt.experiments.charts import plotly_library

PAGES = Environment(loader=PackageLoader("minigpt.experiments"), autoescape=True)


def render(template: str, **values: Any) -> str:
    """The template with its values (HTML)."""
    style, script = (Markup(PAGES.get_template(name).render()) for name in ("pages.css", "charts.js"))  # noqa: S704
    return PAGES.get_template(template).render(style=style, script=script, plotly=plotly_library(), **values)
