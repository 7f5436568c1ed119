"""A real browser for the tests that look at pages."""

import asyncio
import atexit
import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@functools.cache
def _started() -> tuple[Any, asyncio.AbstractEventLoop]:
    """Headless Chromium, started once in a process, which takes a second, and the event loop by which it is asked."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    loop = asyncio.get_running_loop()
    atexit.register(_stop, playwright, loop)
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=0)
    asyncio._set_running_loop(None)
    return browser, loop


def _stop(playwright: Any, loop: asyncio.AbstractEventLoop) -> None:
    asyncio._set_running_loop(loop)
    playwright.stop()


@contextmanager
def chromium(server: str = "file:", **settings: Any) -> Iterator[Any]:
    """A page of its own in headless Chromium, which knows nothing of others.

    A request to anywhere but where the page came from, or an error in it, fails.
    """
    browser, loop = _started()
    other, trouble = asyncio._get_running_loop(), list[str]()
    asyncio._set_running_loop(loop)  # Playwright wants it to run, and others theirs where no page is open
    try:
        page = browser.new_page(**settings)
        page.set_default_timeout(60_000)  # pytest's own limit would end all tests
        page.on("request", lambda request: trouble.append(request.url))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        yield page
        page.context.close()
    finally:
        asyncio._set_running_loop(other)
    assert [entry for entry in trouble if not entry.startswith((server, "data:", "blob:"))] == []
