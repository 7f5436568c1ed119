"""Pages about runs, each one file: a template filled in with escaped text, its style and its library."""

import importlib.resources
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from minigpt.experiments.charts import plotly_script


def render(template: str, **values: Any) -> str:
    """The template with its values (HTML)."""
    style = Markup(_read("pages.css"))  # noqa: S704 - our own file
    page = Environment(autoescape=True).from_string(_read(template))
    return page.render(style=style, plotly=plotly_script(), **values)


def _read(name: str) -> str:
    return (importlib.resources.files("minigpt.experiments") / "templates" / name).read_text(encoding="utf-8")
