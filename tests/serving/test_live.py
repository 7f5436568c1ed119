import asyncio
import json
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import chromium, needs_chromium
from conftest import minigpt
from forked import started
from starlette.testclient import TestClient

from minigpt.cli import explain
from minigpt.inspection.trace import trace
from minigpt.runs import Index, RunFolder, kept_steps, load_run
from minigpt.serving import live, loopback
from minigpt.storage.checksums import sealed
from minigpt.training.checkpoint import write_index

HERE = "http://127.0.0.1:8000"
HER = "A cat. Alice gave Bob her book"


@pytest.fixture
def client(run: Path) -> TestClient:
    return TestClient(live.make_app(run, "last", "A cat"), base_url=HERE)


def ask(client: TestClient, prompt: object, **headers: str) -> Any:
    return client.post("/data", content=json.dumps({"prompt": prompt}), headers=headers)


def test_the_page_and_the_numbers_of_another_text(client: TestClient) -> None:
    assert "A cat" in client.get("/").text
    data = ask(client, "A cat sat").json()
    assert data["prompt"] == "A cat sat"
    assert data["embedding"]["shape"][0] == len(data["tokens"])
    known = client.post("/data", content=json.dumps({"prompt": "A cat sat", "step": data["step"]})).json()
    assert known == {name: value for name, value in data.items() if name in known}
    assert "vocabulary" in data.keys() - known.keys()
    assert known["learning"]
    quick = client.post("/data", json={"prompt": "A cat sat", "step": data["step"], "learning": False}).json()
    assert quick["learning"] is None
    assert "vocabulary" in client.post("/data", json={"prompt": "A cat sat", "step": 0}).json()


@pytest.mark.parametrize(
    ("prompt", "status", "words"),
    [("a " * 60, 400, "sees 32 at once"), ("a" * 200_000, 413, "longer than"), (7, 400, "must be a text")],
)
def test_what_is_no_text_for_this_model_is_told(client: TestClient, prompt: object, status: int, words: str) -> None:
    answer = ask(client, prompt)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert client.post("/data", content=b'{"prompt": "A", "beside": 7}').status_code == 400
    for content in (b"no JSON", b"[" * 99_000, b"[]", b"7", b'{"prompt": "a", "step": []}'):
        assert client.post("/data", content=content).status_code in (200, 400)


def test_several_who_ask_at_once_get_the_same_numbers(run: Path) -> None:
    app = live.make_app(run, "last", "A cat", ["1.1"])

    def ask_once(path: str) -> str:
        client = TestClient(app, base_url=HERE)
        return (client.get("/") if path == "/" else ask(client, "A cat")).text

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask_once, ["/", "/data"] * 8))
    assert len(set(answers[::2])) == len(set(answers[1::2])) == 1


def test_rows_of_matrices_and_no_others(client: TestClient, run: Path) -> None:
    name = "blocks.0.attention.q_proj.weight"
    row = dict(load_run(run).model.named_parameters())[name][3].tolist()
    assert client.get(f"/row/{name}/3").json() == row
    for place in (f"{name}/32", "blocks.0.attention_norm.weight/0", "forward/0", f"{name}/-1"):
        assert client.get(f"/row/{place}").status_code == 404


def test_no_other_page_frames_it(client: TestClient) -> None:
    assert client.get("/").headers["x-frame-options"] == "DENY"


def test_half_a_request_is_given_up(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "PATIENCE", 0.01)
    app, sent = live.make_app(run, "last", "A cat"), list[Any]()

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/data",
        "headers": [(b"host", b"localhost")],
        "query_string": b"",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 408


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7"])
def test_only_requests_that_name_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 400
    assert ask(client, "A cat", host=host).status_code == 400


@pytest.mark.parametrize("path", ["/config.yaml", "/../config.yaml", "/%2e%2e/config.yaml", "/data?path=config.yaml"])
def test_no_request_reads_a_file(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 405)


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run, of a test's own."""
    return RunFolder(Path(shutil.copytree(run, tmp_path / "run")))


def test_a_newer_checkpoint_is_taken(folder: RunFolder) -> None:
    steps = kept_steps(folder)
    whole = folder.index.read_bytes()
    folder.index.write_bytes(sealed({"last": min(steps), "best": None}))
    client = TestClient(live.make_app(folder.path, "last", None), base_url=HERE)
    assert client.get("/step").json() == min(steps)
    folder.index.write_bytes(whole)
    assert client.get("/step").json() == max(steps)
    write_index(folder, Index(max(steps), None))
    assert ask(client, "A cat").status_code == 200
    shutil.rmtree(folder.index.parent)
    assert client.get("/step").json() == max(steps)
    assert ask(client, "A cat").status_code == 200


def test_the_command_serves_the_last_checkpoint(two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Any] = []
    monkeypatch.setattr(explain, "serve_page", lambda app, *_: served.append(TestClient(app, base_url=HERE)))
    write_index(RunFolder(two_runs / "runs/tiny"), Index(12, 6))
    assert minigpt("explain", "runs/tiny", "--serve", cwd=two_runs).returncode == 0
    assert served[0].get("/step").json() == 12


@pytest.fixture
def address(folder: RunFolder, workplace: Path) -> Iterator[str]:
    """Where the command line serves the page."""
    command = started("explain", folder.path, "--serve", "--no-open", "--prompt", HER, cwd=workplace)
    yield command.output.readline().decode().strip()
    os.kill(command.pid, signal.SIGINT)
    assert command.end().status in (0, 130)


@needs_chromium
def test_in_a_browser_the_page_follows_what_is_typed(address: str, run: Path) -> None:
    assert address.startswith("http://127.0.0.1:")
    with chromium(address) as page:
        page.goto(address)
        page.wait_for_selector("#distribution li")
        loaded = load_run(run)
        ids = loaded.encode_prompt(HER)
        her, alice = (ids.index(*loaded.tokenizer.encode(name)) for name in (" her", " Alice"))
        shares = [layer.attention.weights[:, her, alice] for layer in trace(loaded.model, ids).layers]
        layer, head = map(int, np.unravel_index(np.argmax(shares), np.shape(shares)))
        assert page.evaluate("[state.token, state.layer, state.head, state.key]") == [her, layer, head, alice]
        page.click("#distribution [aria-pressed] >> nth=2")
        page.fill("#prompt", "A cat sat on")
        page.wait_for_selector("#continuation:has-text('A cat sat on')")
        pressed = page.eval_on_selector_all("#distribution [aria-pressed]", "all => all.map(one => one.ariaPressed)")
        assert pressed == ["true"] + ["false"] * (len(pressed) - 1)
        for part in ("layer 1, head 1", "layer 2, neurons"):
            page.click(f"#switches [aria-label='without {part}']")
        page.wait_for_selector("#what-if-sum:has-text('without layer 1, head 1 and layer 2, neurons')")
        page.wait_for_selector("#learning[aria-busy=false] #update-sum:has-text('Loss on this text')")
        assert (
            page.eval_on_selector_all("#surprisals .chip", "all => all.length") == page.evaluate("D.tokens.length") - 1
        )
        page.fill("#second", "A dog sat on")
        page.wait_for_selector("#beside-sum:has-text('With “A dog sat on” instead of “A cat sat on”')")
        page.check("#instead [value='=mean']")
        page.wait_for_selector("#what-if-sum:has-text('and layer 2, neurons (its mean instead)')")
        page.click("#switches [aria-label='without all of layer 1']")
        page.wait_for_selector("#what-if-sum:has-text('layer 2, neurons (its mean instead) and layer 1 (its mean')")
        page.click("#switches [aria-label='without all of layer 1'][aria-pressed=true]")
        page.wait_for_selector("#what-if-sum:not(:has-text('and layer 1'))")
        page.wait_for_selector("#carried-over:not([hidden])")
        word = page.text_content("#distribution button[aria-pressed=true]").strip("·")
        text = "A cat sat on" + page.evaluate("D.continuations[state.candidate].next")
        page.click("#append")
        assert page.input_value("#prompt") == text
        page.wait_for_function("word => document.querySelector('#tokens').innerText.trim().endsWith(word)", arg=word)
        page.click("#tour-start")
        page.wait_for_function("() => D.prompt === 'A cat sat.'")
        page.fill("#prompt", "The dog")
        page.wait_for_function("() => own.prompt === 'The dog'")
        assert page.evaluate("D.prompt") == "A cat sat."
        page.click("#tour-leave")
        assert page.evaluate("D.prompt") == "The dog"
        page.fill("#prompt", "A cat sat. " * 30)
        page.wait_for_selector("#trouble:has-text('sees 32 at once')")


@needs_chromium
def test_in_a_browser_it_follows_training_drops_late_answers_and_tells_of_none(address: str, folder: RunFolder) -> None:
    with chromium(address) as page:
        page.add_init_script("window.setInterval = again => { window.look_for_newer = again; }")
        page.goto(address)
        page.wait_for_selector("#distribution li")
        earlier = kept_steps(folder)[0]
        write_index(folder, Index(earlier, None))
        page.evaluate("look_for_newer()")
        page.wait_for_selector(f"#step:text-is('{earlier}')")
        shown = page.evaluate(
            """async () => {
              const real = fetch, { promise, resolve } = Promise.withResolvers();
              window.fetch = (...request) => real(...request).then(answer => promise.then(() => answer));
              $("prompt").value = "A cat";
              const late = ask();
              window.fetch = real;
              $("prompt").value = "A dog";
              await ask();
              resolve();
              await late;
              return D.prompt;
            }"""
        )
        assert shown == "A dog"
        page.route("**/data", lambda route: route.fulfill(status=500, content_type="text/plain", body="Error"))
        page.fill("#prompt", "A cat sat")
        page.wait_for_selector("#trouble:has-text('could not work that out')")
        page.unroute("**/data")
        page.fill("#prompt", "A cat sat on")
        page.wait_for_selector("#continuation:has-text('A cat sat on')")
        assert page.text_content("#trouble") == ""
