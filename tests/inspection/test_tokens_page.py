"""The page of one text under several tokenizers, in a browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from browser import chromium, needs_chromium

from minigpt.inspection.page import tokens_page
from minigpt.tokenizers import build_tokenizer
from minigpt.tokenizers.compare import side_by_side
from minigpt.tokenizers.find import find_tokenizer

TEXT = "A <b>low lower</b> 東.\nlow"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """That of a short text in a browser that has a mouse, a keyboard and a touch screen; `long.html` lies beside it."""
    folder = tmp_path_factory.mktemp("pages")
    bpe = build_tokenizer("bpe", 259, ["low lower lowest " * 50])
    names = [("bpe", lambda text: bpe), *((name, find_tokenizer(name)) for name in ("character", "byte"))]
    for name, text in (("short", TEXT), ("long", f"{TEXT}\n" * 700)):
        (folder / f"{name}.html").write_text(tokens_page(side_by_side(names, text)), encoding="utf-8")
    with chromium(has_touch=True, viewport={"width": 600, "height": 700}) as page:
        page.goto(f"file://{folder}/short.html")
        yield page


def marked(page: Any) -> list[str]:
    """What is marked: in the text, and in each row (tokens with their ids)."""
    read = "all => all.map(row => [...row.querySelectorAll('.covered')].map(token => token.innerText).join())"
    return [
        page.text_content("#shown mark"),
        *(row.replace("\n", " ") for row in page.eval_on_selector_all(".pieces", read)),
    ]


@needs_chromium
def test_a_token_is_marked_in_the_text_and_in_every_row(page: Any) -> None:
    assert page.text_content("#shown").rstrip("\u200b") == TEXT
    assert page.text_content("#size") == "25 characters, 27 bytes in UTF-8"
    assert page.text_content(".counts >> nth=2").startswith(
        "27 tokens · 1.00 bytes per token · byte, vocabulary of 257"
    )

    page.hover("#token-2-6")  # the byte o
    assert marked(page) == ["o", "low 257", "o 10", "o 111"]
    page.mouse.move(1, 1)
    assert marked(page) == ["", "", "", ""]

    page.keyboard.press("Tab")  # the text
    page.keyboard.press("Tab")  # the first row
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    low = ["low", "low 257", "l 9,o 10,w 12", "l 108,o 111,w 119"]
    assert marked(page) == low
    told = "low: id 257, token 6 of 21 of bpe. 3 bytes: 6c 6f 77. Merges: l+o, lo+w. Tokens in the same place: "
    assert page.text_content("#told") == f"{told}character 3, byte 3."
    page.keyboard.press("ArrowDown")  # the same place in the second row
    assert marked(page) == ["l", "low 257", "l 9", "l 108"]
    active = page.evaluate("document.activeElement.getAttribute('aria-activedescendant')")
    assert page.inner_text(f"#{active}") == "l\n9"
    for key, place in (("End", 25), ("Home", 1)):
        page.keyboard.press(key)
        assert f", token {place} of 25 of character." in page.text_content("#told")
    page.keyboard.press("Escape")
    assert marked(page) == ["", "", "", ""]
    assert page.text_content("#told").startswith("Point at a token")

    byte = "#rows section:last-child .character"
    assert page.get_attribute(byte, "aria-label") == "東"
    assert page.inner_text(byte).split() == ["東", r"\xe6", "230", r"\x9d", "157", r"\xb1", "177"]
    page.tap(f"{byte} .token >> nth=1")
    assert marked(page) == ["東", r"\x9d 157", "東 13", r"\x9d 157"]


@needs_chromium
def test_of_a_long_text_what_is_in_view_is_drawn_and_every_row_shows_what_is_marked(page: Any) -> None:
    page.goto(page.url.replace("short", "long"))
    assert page.eval_on_selector_all(".token", "all => all.length") < 4_000  # of 54,600
    page.focus(".pieces >> nth=2")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    assert marked(page) == ["w", "low 257", "w 12", "w 119"]
    assert every_row_shows_it(page)
    page.evaluate("go(rows[2], rows[2].chunks[40].first)")
    page.wait_for_function("() => rows[2].chunks[39].drawn")  # which is taller than it was thought to be
    assert every_row_shows_it(page)


def every_row_shows_it(page: Any) -> bool:
    """Whether the first of the marked tokens lies within each row's view."""
    boxes, tokens = (
        [page.locator(f"section >> nth={row} >> {part} >> nth=0").bounding_box() for row in range(3)]
        for part in (".pieces", ".covered")
    )
    return all(
        box["y"] <= token["y"] and token["y"] + token["height"] <= box["y"] + box["height"] + 1
        for box, token in zip(boxes, tokens, strict=True)
    )
