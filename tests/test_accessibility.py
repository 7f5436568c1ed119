"""Every page is there for everybody: axe-core finds nothing, light, dark and in forced colours, wide and narrow."""

from pathlib import Path

import pytest
from browser import chromium, needs_chromium
from conftest import NODE_MODULES, minigpt

AXE = NODE_MODULES / "axe-core" / "axe.min.js"
OPTIONS = "{resultTypes: ['violations']}"
PAGES = {
    "explain": ["explain", "runs/tiny", "--no-open", "--prompt", "A cat sat on the mat", "--beside", "A dog sat"],
    "tokenize": ["tokenize", "A cat, n\u00e4chstes \u6771 " * 9],
    "compare": ["compare", "runs/tiny", "runs/other", "--no-open"],
    "report": [],
}


@needs_chromium
@pytest.mark.skipif(
    not AXE.is_file(), reason=f"axe-core is not there: npm install --prefix {NODE_MODULES.parent} axe-core"
)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(name: str, two_runs: Path) -> None:
    path = two_runs / f"{name}.html"
    if PAGES[name]:
        done = minigpt(*PAGES[name], "--output", path, cwd=two_runs)
        assert done.returncode == 0, done.stderr
    else:
        path = two_runs / "runs" / "tiny" / "report.html"
    with chromium() as page:
        for width, scheme, forced in ((1280, "light", "none"), (390, "dark", "none"), (320, "dark", "active")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme, forced_colors=forced)
            page.goto(f"file://{path}")
            page.evaluate(AXE.read_text(encoding="utf-8"))
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            found = page.evaluate(f"axe.run({{exclude: ['.chart']}}, {OPTIONS}).then(result => result.violations)")
            assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []
