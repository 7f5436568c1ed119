"""Every page is there for everybody: axe-core finds nothing, light, dark and in forced colours, wide and narrow."""

from pathlib import Path

import pytest
from browser import chromium, needs_chromium
from conftest import NODE_MODULES, RECIPE, TINY, minigpt

AXE = NODE_MODULES / "axe-core" / "axe.min.js"
OPTIONS = "{resultTypes: ['violations']}"
PAGES: dict[str, list[object]] = {
    "explain": ["explain", "runs/tiny", "--no-open", "--prompt", "A cat sat on the mat", "--beside", "A dog sat"],
    "tokenize": ["tokenize", "A cat, n\u00e4chstes \u6771 " * 9],
    "compare": ["compare", "runs/tiny", "runs/other", "--no-open"],
    "report": [],
    "rates": ["train", RECIPE, "run.name=tried", *TINY, "--find-lr"],
    "sweep": ["sweep", "search.yaml", "--no-open"],
}
"""Commands that write them; the report is there."""
WRITTEN = {
    "report": "runs/tiny/report.html",
    "rates": "runs/tried-learning-rates.html",
    "sweep": "runs/s/sweep.html",
}
"""Where pages are that no `--output` places."""
SEARCH = f"""
recipe: {RECIPE}
study: {{name: s, trials: 3}}
space: {{optimizer.learning_rate: {{low: 0.001, high: 0.1, log: true}}}}
changes: {dict(change.split("=") for change in TINY)}
"""


@needs_chromium
@pytest.mark.skipif(
    not AXE.is_file(), reason=f"axe-core is not there: npm install --prefix {NODE_MODULES.parent} axe-core"
)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, two_runs: Path) -> None:
    (two_runs / "search.yaml").write_text(SEARCH.replace("'", ""))
    path = two_runs / WRITTEN.get(name, f"{name}.html")
    if PAGES[name]:
        where = [] if name in WRITTEN else ["--output", path]
        done = minigpt(*PAGES[name], *where, cwd=two_runs)
        assert done.returncode == 0, done.stderr
    with chromium() as page:
        page.goto(f"file://{path}")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        for width, scheme, forced in ((1280, "light", "none"), (390, "dark", "none"), (320, "dark", "active")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme, forced_colors=forced)
            page.wait_for_function(
                "() => document.documentElement.scrollWidth <= innerWidth"
            )  # once charts are redrawn
            assert page.locator(".chart:not([role=img][aria-label*=': '])").count() == 0
            found = page.evaluate(f"axe.run({{exclude: ['.chart']}}, {OPTIONS}).then(result => result.violations)")
            assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
