"""The report in a real browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def page(run: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 400, "height": 800})
        browser.close()


def test_the_report_draws_its_curves_and_asks_nothing_of_the_network(run: Path, page: Any) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"file://{run}/report.html")
    page.wait_for_selector(".js-plotly-plot .scatterlayer path.js-line")
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert "validation loss" in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
