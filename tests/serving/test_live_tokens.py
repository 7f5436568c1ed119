import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from browser import chromium, needs_chromium
from forked import started
from starlette.testclient import TestClient

from minigpt.serving.tokens import make_app
from minigpt.tokenizers.compare import side_by_side
from minigpt.tokenizers.find import find_tokenizer

NAMES = ("character", "byte")


@pytest.fixture
def client() -> TestClient:
    cut = partial(side_by_side, [(name, find_tokenizer(name)) for name in NAMES])
    return TestClient(make_app(cut, "A cat"), base_url="http://127.0.0.1:8000")


def test_the_page_and_the_rows_of_another_text(client: TestClient) -> None:
    page = client.get("/")
    assert '"text":"A cat"' in page.text
    assert page.headers["x-frame-options"] == "DENY"
    data = client.post("/data", json={"text": "éa"}).json()
    assert [row["ids"] for row in data["tokenizers"]] == [[1, 0], [0xC3, 0xA9, 0x61]]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"no JSON", 400, "the request must be"),
        (b'["text"]', 400, "the request must be"),
        (b'{"text": 7}', 400, "the request must be"),
        (b'{"text": "\\ud800"}', 400, "lone surrogate"),
        (b'{"text": "' + b"a" * 200_000 + b'"}', 413, "longer than 100,000 bytes"),
    ],
)
def test_what_is_no_text_is_told(client: TestClient, content: bytes, status: int, words: str) -> None:
    answer = client.post("/data", content=content)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_only_requests_that_name_this_machine_are_answered(client: TestClient) -> None:
    for answer in (client.get("/", headers={"host": "evil.example"}), client.post("/data", headers={"host": "a.b"})):
        assert answer.status_code == 400


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where the command line serves the page."""
    options = [word for name in NAMES for word in ("--tokenizer", name)]
    command = started("tokenize", "--serve", "--no-open", *options, cwd=tmp_path)
    yield command.output.readline().decode().strip()
    os.kill(command.pid, signal.SIGINT)
    assert command.end().status in (0, 130)


@needs_chromium
def test_in_a_browser_every_row_follows_what_is_typed(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    with chromium(address) as page:
        page.goto(address)
        assert page.input_value("#field").startswith("Alice gave Bob")  # something to look at
        page.fill("#field", "A é" + 5 * "\n")
        for name, n in zip(NAMES, (8, 9), strict=True):
            page.wait_for_selector(f"section:has-text('{name}') .counts:has-text('{n} tokens')")
        page.evaluate("document.getElementById('field').setSelectionRange(2, 3)")
        page.wait_for_selector(".covered")
        covered = page.eval_on_selector_all(".covered", "all => all.map(token => token.firstChild.textContent)")
        assert covered == ["é", r"\xc3", r"\xa9"]
        field, shown = (page.locator(selector).bounding_box() for selector in ("#field", "#shown"))
        assert field == shown  # what is marked lies under what is typed
        page.fill("#field", "a" * 100_001)
        page.wait_for_selector("#trouble:has-text('longer than 100,000 bytes')")
        page.fill("#field", "")
        page.wait_for_selector(".counts:has-text('0 tokens')")
        assert page.text_content("#trouble") == ""
