"""The report in a real browser."""

from pathlib import Path

from browser import chromium, needs_chromium


@needs_chromium
def test_the_report_draws_its_curves_and_asks_nothing_of_the_network(run: Path) -> None:
    with chromium(viewport={"width": 400, "height": 800}) as page:
        page.goto(f"file://{run}/report.html")
        page.wait_for_selector(".js-plotly-plot .scatterlayer path.js-line")
        assert "validation loss" in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
