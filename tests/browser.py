"""A real browser for the tests that look at pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@contextmanager
def chromium(server: str = "file:", **settings: Any) -> Iterator[Any]:
    """A page in headless Chromium; a request to anywhere but where the page came from, or an error in it, fails."""
    from playwright.sync_api import sync_playwright

    trouble: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=0
        )
        page = browser.new_page(**settings)
        page.set_default_timeout(0)  # pytest's own limit is the only one
        page.on("request", lambda request: trouble.append(request.url))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        yield page
        browser.close()
    assert [entry for entry in trouble if not entry.startswith((server, "data:", "blob:"))] == []
