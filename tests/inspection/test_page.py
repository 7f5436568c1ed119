"""The explain page: what is in the file, and what a reader sees of it in a real browser."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from browser import chromium, needs_chromium
from conftest import minigpt, random_model

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.data.stories_ahead import token_probabilities
from minigpt.errors import UserError
from minigpt.generation.sampling import next_token_probabilities
from minigpt.inspection.embeddings import Embedding, Neighbour
from minigpt.inspection.habits import kept_habits
from minigpt.inspection.intervene import Change, changed_logits, mean_work
from minigpt.inspection.learning import surprisals
from minigpt.inspection.own_text import own_texts
from minigpt.inspection.page import default_prompt, explain, matrices
from minigpt.inspection.page_data import MAPPED
from minigpt.inspection.patching import patching
from minigpt.inspection.trace import Trace, trace
from minigpt.model.attention import attention_scores
from minigpt.runs import Run, RunFolder, kept_steps, load_run
from minigpt.tokenizers import build_tokenizer
from minigpt.tokenizers.compare import label
from minigpt.training.metrics import read_metrics

PROMPT = "A cat sat on the mat"


@pytest.fixture(scope="module")
def loaded(run: Path) -> Run:
    return load_run(run)


@pytest.fixture(scope="module")
def traced(loaded: Run) -> Trace:
    begin = loaded.config.sampling.begin_document is True
    return trace(loaded.model, loaded.tokenizer.encode_prompt(PROMPT, begin))


@pytest.fixture(scope="module")
def written(run: Path, workplace: Path) -> Path:
    done = minigpt("explain", run, "--prompt", PROMPT, cwd=workplace)
    assert done.stdout.strip() == str(run / "explain.html")
    return run / "explain.html"


@pytest.fixture
def page(written: Path) -> Iterator[Any]:
    with chromium(viewport={"width": 390, "height": 800}) as page:
        page.goto(f"file://{written}")
        page.wait_for_selector("#distribution li")
        yield page


def numbers(page: Any, section: str, name: str) -> list[float]:
    """The numbers under the strip of a name."""
    text = page.text_content(f"#{section} .strip[data-name={json.dumps(name, ensure_ascii=False)}] details p")
    return [float(x) for x in text.split()]


def shares(page: Any, picture: str) -> list[float]:
    """At whom a token looks how much, as a picture tells who cannot see it."""
    label = page.get_attribute(picture, "aria-label")
    return [float(share) / 100 for share in re.findall(r"[<>]?([\d.]+)%", label)]


def close(shown: list[float], true: Any) -> None:
    np.testing.assert_allclose(shown, true, rtol=0, atol=5.1e-4)


def cell(page: Any, row: int, column: int) -> dict[str, float]:
    """Where in the picture of a head the cell of a pair of `PROMPT`'s tokens is."""
    side, n = page.eval_on_selector("#matrix", "c => c.clientWidth"), page.locator("#tokens button").count()
    return {"x": side - 32 * (n - column - 0.5), "y": side - 32 * (n - row - 0.5)}


@needs_chromium
@torch.inference_mode()
def test_the_numbers_on_the_screen_are_those_of_the_model(page: Any, loaded: Run, traced: Trace) -> None:
    token, layer, head = 2, 1, 1
    page.click(f"#tokens button:nth-child({token + 1})")
    page.select_option("#layer", index=layer)
    page.select_option("#head", index=head)
    there = traced.layers[layer]
    attention = there.attention
    close(numbers(page, "embedding-view", "embedding"), traced.embedding[token])
    close(numbers(page, "qkv", "query"), attention.query[head, token])
    close(numbers(page, "qkv", "key, normalised and turned to its position"), attention.placed_key[head, token])
    close(numbers(page, "qkv", "value"), attention.value[head, token])
    close(numbers(page, "heard", "weighted sum of values"), attention.mixed[head, token])
    close(numbers(page, "neurons", "neurons a = silu(gate) · h"), there.feed_forward.hidden[token])
    close(numbers(page, "neurons", "the token's vector now"), there.leaving[token])
    close(shares(page, "#arcs"), attention.weights[head, token, : token + 1])
    page.focus("#matrix")
    for _ in range(token + 1):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert re.fullmatch(r"·sat looks at .+: [\d.]+% why\?", page.text_content("#picked"))
    shown = page.text_content("#score-sum button")
    close([float(shown)], [attention.scores[head, token, 1]])
    content, position = (
        float(b) for b in page.eval_on_selector_all("#terms-sum b", "all => all.map(b => b.innerText)")
    )
    query, key = (torch.from_numpy(heads)[None] for heads in (attention.query, attention.key))
    same_place = attention_scores(*loaded.model.blocks[layer].attention.place(query, key, None))[0, head, token, 1]
    assert content == pytest.approx(same_place.item(), abs=0.0051)
    assert position == pytest.approx(attention.scores[head, token, 1] - same_place.item(), abs=0.0051)
    listed = page.text_content("#terms ol")
    assert sum(map(float, re.findall(r"content (-?\d+\.\d\d)", listed))) == pytest.approx(content, abs=0.06)
    assert sum(map(float, re.findall(r"position (-?\d+\.\d\d)", listed))) == pytest.approx(position, abs=0.06)


@needs_chromium
def test_the_sliders_give_the_probabilities_that_sampling_would(page: Any, traced: Trace) -> None:
    logits = torch.tensor(traced.logits[-1:])
    for temperature, top_k, top_p in ((1, 0, 1), (0.5, 0, 1), (1.5, 3, 1), (1, 0, 0.3), (0.7, 8, 0.5), (0, 0, 1)):
        for name, value in (("temperature", temperature), ("top-k", top_k), ("top-p", top_p)):
            page.eval_on_selector(f"#{name}", f"x => {{ x.value = {value}; x.dispatchEvent(new Event('input')); }}")
        settings = SamplingConfig(temperature=temperature, top_k=top_k or None, top_p=top_p if top_p < 1 else None)
        expected = next_token_probabilities(logits, torch.zeros_like(logits, dtype=torch.bool), settings)[0]
        for item in page.query_selector_all("#distribution li"):
            told = item.query_selector(":scope > span:last-child").text_content()
            share = 0 if told == "cut" else float(told.strip("<>%")) / 100
            true = expected[int(item.get_attribute("data-token"))].item()
            assert share == pytest.approx(true, abs=0.006)
            assert (item.get_attribute("class") == "cut") == (told == "cut") == (true == 0)


@needs_chromium
def test_sums_of_meanings_are_those_of_the_embedding_and_an_unknown_word_is_told(page: Any, loaded: Run) -> None:
    embedding = Embedding.of(loaded)
    mapped = embedding.map(MAPPED)[0]
    texts = [loaded.tokenizer.decode([token]) for token in mapped]
    words = [text.strip() for text in texts if text.startswith(" ") and text.strip().isalpha()][:3]
    for field, word in zip("abc", words, strict=True):
        page.fill(f"#{field}", word)

    def answers(exclude: bool) -> list[Neighbour]:
        every = embedding.analogy(*map(embedding.token, words), n=loaded.tokenizer.vocab_size, exclude=exclude)
        return [one for one in every if one.token in mapped][:8]

    shown = page.eval_on_selector_all("#analogy .chip", "all => all.map(chip => chip.innerText.trim().split(/\\s+/))")
    assert [float(cosine) for _, cosine in shown] == pytest.approx(
        [one.cosine for one in answers(exclude=True)], abs=0.006
    )
    assert shown[0][0].strip("·") == answers(exclude=True)[0].text.strip()
    page.uncheck("#others")
    shown = page.eval_on_selector_all("#analogy .chip", "all => all.map(chip => chip.innerText.trim().split(/\\s+/))")
    assert shown[0][0].strip("·") == answers(exclude=False)[0].text.strip()
    points = page.eval_on_selector_all("#map circle", "all => all.map(c => [c.cx.baseVal.value, c.cy.baseVal.value])")
    a, b, c = (np.array(points[mapped.index(embedding.token(word))]) for word in words)
    arrows = page.eval_on_selector_all(
        "#map line", "all => all.map(l => ['x1', 'y1', 'x2', 'y2'].map(name => Number(l.getAttribute(name))))"
    )
    np.testing.assert_allclose(arrows, [[*b, *a], [*c, *(c + a - b)]], atol=1e-3)
    page.fill("#a", "xylophonist")
    assert "“xylophonist” is no single token" in page.text_content("#analogy")


@needs_chromium
def test_a_picture_of_a_head_picks_it(page: Any) -> None:
    page.click("#heads button[aria-label='layer 2, head 1']")
    assert (page.input_value("#layer"), page.input_value("#head")) == ("1", "0")
    assert page.get_attribute("#heads button[aria-label='layer 2, head 1']", "aria-pressed") == "true"
    assert page.text_content("#arcs-title").endswith("layer 2, head 1")
    painted = page.eval_on_selector(
        "#heads canvas", "c => Array.from(c.getContext('2d').getImageData(0, 0, 2, 1).data)"
    )
    assert (painted[3], painted[7]) == (255, 0)  # the first token has only itself to look at


@needs_chromium
def test_of_whatever_looks_the_strongest_look_and_neurons_are_shown(page: Any, traced: Trace) -> None:
    shown = page.evaluate(
        """() => D.layers.map((_, layer) => D.tokens.map((_, token) => {
          state.layer = layer;
          look(token);
          const dots = Array.from($("curve").querySelectorAll("circle"), c => [c.cx.baseVal.value, c.cy.baseVal.value]);
          return { key: state.key, neuron: $("strongest").querySelector(".chip").textContent, dots };
        }))"""
    )
    head = page.evaluate("state.head")
    for there, tokens in zip(traced.layers, shown, strict=True):
        neurons = there.feed_forward
        assert neurons.gate is not None
        assert [one["key"] for one in tokens] == there.attention.weights[head].argmax(-1).tolist()
        strongest = np.abs(neurons.hidden).argmax(-1)
        assert [int(one["neuron"].split()[1]) for one in tokens] == strongest.tolist()
        for one, gate in zip(tokens, neurons.gate, strict=True):
            x, y = np.array(one["dots"]).T
            np.testing.assert_allclose(x, 340 + 40 * gate, atol=1e-3)
            np.testing.assert_allclose(y, 200 - 20 * gate / (1 + np.exp(-gate)), atol=1e-3)


@needs_chromium
def test_what_is_not_looked_at_cannot_be_picked_and_is_no_part_of_what_is_heard(page: Any) -> None:
    page.click("#matrix", position=cell(page, 2, 1))
    picked = page.text_content("#picked")
    assert picked.startswith("·sat looks at ·cat: ")
    page.click("#matrix", position=cell(page, 1, 2))
    assert page.text_content("#picked") == picked
    page.click("#tokens button:first-child")
    assert page.text_content("#mixture") == "1.00 · value(A)"


@needs_chromium
def test_numbers_and_bars_are_as_they_are_told(page: Any) -> None:
    halves = np.array([1, -2, 0.1, 6e-8, 65504, 0], np.float16)
    assert page.evaluate("all => all.map(half)", halves.view(np.uint16).tolist()) == halves.tolist()
    told = ["<0.1%", "0.1%", "50.0%", "99.9%", ">99.9%", "100.0%"]
    assert page.evaluate("[1e-4, 6e-4, 0.5, 0.9994, 0.9999, 1].map(percent)") == told
    assert page.evaluate("[-1, 1].map(x => sideBar(x, 2).style.marginLeft)") == ["25%", "50%"]


@needs_chromium
def test_a_next_word_shows_its_consequence(page: Any) -> None:
    before = page.text_content("#continuation")
    assert before.startswith(PROMPT)
    page.click("#distribution button[aria-pressed=false]")
    assert page.text_content("#continuation") not in ("", before)


@needs_chromium
def test_the_training_slider_goes_through_the_checkpoints(page: Any, run: Path, traced: Trace) -> None:
    assert page.text_content("#stage-value") == str(kept_steps(RunFolder(run))[-1])
    page.eval_on_selector("#stage", "x => { x.value = 0; x.dispatchEvent(new Event('input')); }")
    assert page.text_content("#stage-value") == "0"
    evaluated = [line for line in read_metrics(RunFolder(run)) if "validation_loss" in line]
    told = ", ".join(f"{line['validation_loss']:.2f} at step {line['step']}" for line in evaluated)
    assert page.get_attribute("#losses", "aria-label").endswith(told)
    losses = [line["loss"] for line in read_metrics(RunFolder(run)) if "loss" in line]
    heights = [float(y) for y in re.findall(r",([\d.]+)", page.get_attribute("#losses .faint", "d"))]
    assert (np.argmin(heights), np.argmax(heights)) == (np.argmax(losses), np.argmin(losses))
    first = trace(load_run(run, "0").model, traced.token_ids)
    layer, head = page.evaluate("[state.layer, state.head]")
    close(shares(page, "#stage-matrix"), first.layers[layer].attention.weights[head, -1])
    assert page.text_content("#stage-head").endswith(f"layer {layer + 1}, head {head + 1}")


@needs_chromium
def test_the_last_of_many_tokens_is_chosen_and_seen(loaded: Run, tmp_path: Path) -> None:
    longest = loaded.config.model.context_length - 1
    (tmp_path / "page.html").write_text(explain(loaded, "A" * longest), encoding="utf-8")
    with chromium(viewport={"width": 700, "height": 800}) as page:
        page.goto(f"file://{tmp_path / 'page.html'}")
        hidden, scrolled = page.eval_on_selector(
            "#tokens", "row => [row.scrollWidth - row.clientWidth, row.scrollLeft]"
        )
    assert hidden > 0
    assert scrolled == pytest.approx(hidden, abs=1)


@needs_chromium
def test_keys_move_among_tokens_and_in_the_matrix_and_a_phone_is_wide_enough(page: Any) -> None:
    page.focus("#tokens [aria-checked=true]")
    page.keyboard.press("ArrowLeft")
    labels = page.eval_on_selector_all("#tokens button", "all => all.map(b => b.getAttribute('aria-checked'))")
    assert labels[-2:] == ["true", "false"]
    assert page.evaluate("document.activeElement.getAttribute('aria-checked')") == "true"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@needs_chromium
def test_no_text_can_inject_markup(run: Path, workplace: Path, tmp_path: Path) -> None:
    evil = "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'> {{ 1 }}"
    output = tmp_path / "evil.html"
    done = minigpt("explain", run, "--prompt", evil, "--output", output, cwd=workplace)
    if done.returncode == 2 and "at once" in done.stderr:  # the tiny run's context is short
        evil = "</script><b>"
        done = minigpt("explain", run, "--prompt", evil, "--output", output, cwd=workplace)
    assert done.returncode == 0, done.stderr
    with chromium() as page:
        page.goto(f"file://{output}")
        page.wait_for_selector("#distribution li")
        assert page.title() == "Inside tiny"
        assert page.query_selector("main img") is None
        assert page.text_content("#continuation").startswith(evil)


def test_the_page_is_one_file_that_names_no_other(loaded: Run) -> None:
    html = explain(loaded, PROMPT)
    assert re.findall(r"""(?:src|href)=["']?(?!data:|#)|@import|url\((?!#)""", html) == []
    assert len(html) < 5_000_000


def test_at_home_it_leads_to_the_report_and_back(run: Path, written: Path) -> None:
    assert '<a href="report.html">' in written.read_text(encoding="utf-8")
    assert '<a href="explain.html">' in (run / "report.html").read_text(encoding="utf-8")


def test_a_prompt_that_does_not_fit_and_a_place_that_cannot_be_written_are_told(run: Path, workplace: Path) -> None:
    done = minigpt("explain", run, "--prompt", "A cat sat. " * 50, cwd=workplace)
    assert (done.returncode, "sees 32 at once" in done.stderr) == (2, True)
    done = minigpt("explain", run, "--prompt", PROMPT, "--output", "/nowhere/at/all.html", cwd=workplace)
    assert (done.returncode, "--output" in done.stderr) == (2, True)


def test_a_model_that_has_diverged_is_told_of(run: Path) -> None:
    diverged = load_run(run)
    with torch.no_grad():
        diverged.model.final_norm.weight.fill_(torch.nan)
    with pytest.raises(UserError, match=r"diverged; take another with --checkpoint"):
        explain(diverged, PROMPT)


def test_a_run_without_a_prompt_is_explained_with_something_of_its_own(loaded: Run) -> None:
    assert default_prompt(loaded) == "Alice gave Bob"
    data = loaded.config.data.model_copy(update={"source": "other"})
    other = replace(loaded, config=loaded.config.model_copy(update={"data": data}))
    assert default_prompt(other)


@needs_chromium
def test_a_part_is_switched_off_and_on_by_keyboard(page: Any, loaded: Run, traced: Trace) -> None:
    after = torch.tensor(changed_logits(loaded.model, traced.token_ids, [[Change("2.1")]])[0]).softmax(-1)
    best = int(traced.logits[-1].argmax())
    assert page.text_content("#what-if-sum") == "Nothing is off."
    page.focus("#switches [aria-label='without layer 2, head 1']")
    page.keyboard.press("Enter")
    told = re.fullmatch(r"P\((.+)\) (.+)% → (.+)% without layer 2, head 1", page.text_content("#what-if-sum"))
    assert told
    assert float(told[2]) / 100 == pytest.approx(traced.probabilities[-1][best], abs=6e-4)
    assert float(told[3]) / 100 == pytest.approx(float(after[best]), abs=6e-4)
    assert f"{told[2]}% → {told[3]}%" in page.text_content("#way li:last-child")
    listed = page.eval_on_selector_all("#what-if-words li", "all => all.map(li => li.lastChild.textContent)")
    assert f"{told[2]}% → {told[3]}%" in listed
    page.keyboard.press("Space")  # it still has the focus
    assert page.text_content("#what-if-sum") == "Nothing is off."
    for other in ("layer 1, head 1", "layer 1, head 2"):  # one at a time, as the page knows no more
        page.click(f"#switches [aria-label='without {other}']")
        assert page.text_content("#what-if-sum").endswith(f"% without {other}")
    assert page.eval_on_selector_all("#switches [aria-pressed=true]", "all => all.length") == 1
    strongest = int(np.abs(traced.layers[0].feed_forward.hidden[-1]).argmax())
    page.focus(f"#switches [aria-label='without layer 1, neuron {strongest}']")
    page.keyboard.press("Enter")
    page.focus("#instead input:checked")
    page.keyboard.press("ArrowDown")
    mean = Change(f"1.neuron{strongest}", mean_work(loaded.model, own_texts(loaded)))
    shares = torch.tensor(changed_logits(loaded.model, traced.token_ids, [[mean]])[0]).softmax(-1)
    told = page.text_content("#what-if-sum")
    assert told.endswith(f"without layer 1, neuron {strongest} (its mean instead)")
    assert float(re.findall(r"→ (.+)%", told)[0]) / 100 == pytest.approx(float(shares[best]), abs=6e-4)


@needs_chromium
def test_a_part_is_carried_over_from_a_second_text(loaded: Run, traced: Trace, tmp_path: Path) -> None:
    other = "A <b>dog</b> sat"
    ids = loaded.tokenizer.encode_prompt(other, loaded.config.sampling.begin_document is True)
    found = patching(loaded.model, traced.token_ids, ids)
    (tmp_path / "beside.html").write_text(explain(loaded, PROMPT, beside=other), encoding="utf-8")
    with chromium(viewport={"width": 390, "height": 800}) as page:
        page.goto(f"file://{tmp_path}/beside.html")
        page.wait_for_selector("#carried button")
        assert f"“{other}”" in page.text_content("#beside-sum")
        odds = found.carried[..., 0] - found.carried[..., 1] - (found.first[0] - found.first[1])
        shown = page.eval_on_selector_all("#carried button", "all => all.map(cell => Number(cell.textContent))")
        np.testing.assert_allclose(shown, odds.flatten(), atol=0.051)
        labels = page.eval_on_selector_all("#carried button", "all => all.map(cell => cell.ariaLabel)")
        [best] = page.eval_on_selector_all("#carried [aria-pressed=true]", "all => all.map(cell => cell.ariaLabel)")
        moves = {
            name: abs(move)
            for name, move in zip(labels, odds.flatten(), strict=True)
            if re.match("layer ., .+ at (?!all)", name)
        }
        assert moves[best] == pytest.approx(max(moves.values()), rel=1e-3)
        page.focus("#carried [aria-pressed=true]")
        for _ in range(odds.size):
            page.keyboard.press("ArrowUp")
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("layer 1, head 2 at ")
        told = re.findall(r"→ [<>]?([\d.]+)%", page.text_content("#carried-sum"))
        assert [float(x) / 100 for x in told] == pytest.approx(np.exp(found.carried[1, 1]).tolist(), abs=1e-3)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@needs_chromium
def test_the_bars_of_a_logit_sum_to_it(page: Any, traced: Trace) -> None:
    order = np.argsort(-traced.logits[-1])
    first, second = traced.logits[-1][order[0]], traced.logits[-1][order[1]]
    for other, expected in (("-1", first), ("1", first - second)):
        page.select_option("#against", other)
        bars = page.eval_on_selector_all("#origin-bars li", "all => all.map(li => Number(li.lastChild.textContent))")
        assert float(page.text_content("#origin-sum b")) == pytest.approx(expected, abs=0.006)
        assert sum(bars) == pytest.approx(expected, abs=0.006 * (len(bars) + 1))


def test_the_command_tells_what_a_missing_part_changes(run: Path, workplace: Path) -> None:
    command = ["explain", run, "--no-open", "--prompt", PROMPT, "--output", workplace / "without.html"]
    done = minigpt(*command, "--without", "1.1", "--without", "2", cwd=workplace)
    first, *rows, path = done.stdout.splitlines()
    assert first == "without layer 1, head 1 and layer 2:"
    assert rows
    assert all(re.fullmatch(r"  P\(.+\) \d+\.\d% → \d+\.\d%", row) for row in rows)
    assert '"asked":"1.1+2"' in Path(path).read_text()
    asked = ["--without", "1.neuron3=mean", "--without", "1=mean"]
    done = minigpt(*command, *asked, "--beside", "A dog sat", cwd=workplace)
    assert done.stdout.startswith("without layer 1, neuron 3 (its mean instead) and layer 1 (its mean instead):\n")
    assert re.search(r"\nbeside 'A dog sat': P\(.+\) .+% → .+%, P\(.+\) .+%; with one part .*:\n  layer", done.stdout)
    done = minigpt(*command, "--beside", "A cat sat. " * 30, cwd=workplace)
    assert (done.returncode, "--beside: has " in done.stderr) == (2, True)
    done = minigpt(*command, "--without", "3.1", cwd=workplace)
    assert (done.returncode, "--without 3.1: there are layers 1 to 2 with heads 1 to 2" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "kind",
    [{}, {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "bias": True, "tie_embeddings": False}],
)
def test_every_tensor_has_words_and_all_parameters_are_counted(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    rows = list(matrices(model))
    assert sum(row["n"] for row in rows) == model.n_parameters()
    assert len({row["words"] for row in rows}) == len(rows)


@needs_chromium
def test_beside_the_surprise_at_a_storys_words_stands_the_true_one(loaded: Run, tmp_path: Path) -> None:
    sampling = loaded.config.sampling.model_copy(update={"begin_document": True})
    loaded = replace(loaded, config=loaded.config.model_copy(update={"sampling": sampling}))
    prompt = "Alice gave Bob a cat"
    (tmp_path / "page.html").write_text(explain(loaded, prompt), encoding="utf-8")
    ids = loaded.encode_prompt(prompt)
    expected = [-math.log(p) for p in token_probabilities(ids, loaded.tokenizer)]
    with chromium() as page:
        page.goto(f"file://{tmp_path / 'page.html'}")
        shown = page.eval_on_selector_all(
            "#surprisals .least", "all => all.map(one => Number(one.textContent.slice(3)))"
        )
        mean = float(page.text_content("#least-mean").split(" and ")[1])
        unknown = page.text_content("#unknown")
    word = label(loaded.tokenizer.token_bytes[ids[1 + len(expected)]])
    assert unknown.startswith(f"No story goes on with “{word}” there")
    assert 3 <= len(expected) < len(ids) - 1, "no story goes on so"
    assert shown == pytest.approx(expected, abs=0.006)
    assert mean == pytest.approx(np.mean(expected), abs=0.006)


@needs_chromium
def test_where_no_document_begins_it_is_told_why_there_are_no_true_probabilities(page: Any) -> None:
    assert page.is_hidden("#least")
    assert "with which this model begins no text" in page.text_content("#unknown")


@needs_chromium
def test_a_step_of_learning_lowers_the_loss_of_the_text(page: Any, loaded: Run, traced: Trace) -> None:
    def shown() -> list[float]:
        small = page.eval_on_selector_all(
            "#surprisals small:not(.least)", "all => all.map(one => Number(one.textContent))"
        )
        before, after = re.findall(r"this text: (.+) → (.+) nats", page.text_content("#update-sum"))[0]
        assert np.mean(small) == pytest.approx(float(after), abs=0.006)
        return [float(before), float(after)]

    expected = surprisals(traced.logits, traced.token_ids).mean()
    assert shown() == pytest.approx([expected, expected], abs=0.001)
    page.focus("#rate")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    before, after = shown()
    assert before == pytest.approx(expected, abs=0.001)
    assert after < before
    assert page.get_attribute("#rate", "aria-valuetext") == f"rate {page.text_content('#rate-value')}"


@needs_chromium
def test_every_number_opens_the_sum_that_made_it(page: Any, traced: Trace) -> None:
    wrong = page.evaluate(
        """async () => {
          const wrong = [], far = x => !(Math.abs(x) < 2e-4);
          for (const what of Object.keys(QUANTITIES).filter(what => what !== "position"))
            for (const token of ["normed", "logit"].includes(what) ? [last()] : [0, 3])
              for (const [layer, head] of [[0, 0], [1, 1]]) {
                const place = { what, layer, head, token, key: 0 }, numbers = values(place);
                for (const i of [0, numbers.length - 1]) {
                  const { terms } = await QUANTITIES[what].made({ ...place, i }), shares = what === "weight";
                  const sum = shares ? parseFloat(terms[i].shown) / 100 : total(terms.map(term => term.x * term.w));
                  const error = (sum - numbers[i]) / (shares ? 5 : Math.max(1, Math.abs(numbers[i])));
                  if (!terms.length || far(error)) wrong.push([what, token, layer, i, sum, numbers[i]]);
                }
              }
          return wrong;
        }"""
    )
    assert wrong == []
    best = int(traced.logits[-1].argmax())
    page.focus("#distribution .number")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sum:not([hidden])")
    assert float(page.text_content("#sum-terms tr:last-child b")) == pytest.approx(traced.logits[-1][best], abs=0.06)
    path = ["normalised", "vector after the layer", "after attention|output of the neurons"]
    for name in path:
        page.click("#sum-terms tbody button")
        page.wait_for_function("name => RegExp(name).test(document.querySelector('#sum-title').textContent)", arg=name)
    page.click("#sum-back")
    page.wait_for_selector("#sum-title:has-text('vector after the layer')")
    page.keyboard.press("Escape")
    assert page.is_hidden("#sum")
    assert page.evaluate("document.activeElement.className") == "number"
    for number, opened in (
        ("#picked button", "attention weight for"),
        ("#score-sum button >> nth=0", "score for"),
        ("#score-sum button >> nth=1", "attention weight for"),
        ("#heard .strip[data-name='weighted sum of values'] canvas", "weighted sum of values, number"),
        ("#sum-terms tr:first-child td:nth-child(2) button", "attention weight for"),
    ):
        page.focus(number)
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#sum-title:has-text('{opened}')")
    page.keyboard.press("Escape")
    page.click("#neurons .strip[data-name^=neurons] canvas", position={"x": 5, "y": 36})  # in the second of three rows
    page.wait_for_selector("#sum-title:has-text('neuron 32 at')")
    page.keyboard.press("Escape")
    page.focus("#neurons canvas")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#neurons canvas", "aria-valuetext").startswith("1: ")
    page.keyboard.press("Enter")
    page.wait_for_selector("#sum-title:has-text('input z of the neurons, number 1, at')")


@needs_chromium
def test_the_whole_way_leads_to_every_chapter_and_ends_with_the_next_word(page: Any, traced: Trace) -> None:
    best = float(traced.probabilities[-1].max())
    assert f"{100 * best:.1f}%" in page.text_content("#way li:last-child")
    assert page.eval_on_selector_all("#way a", "all => all.map(a => a.dataset.chapter)") == [
        "text", "text", "vectors", "attention", "thinking", "attention", "thinking", "next",
    ]  # fmt: skip
    page.click("#way a[data-chapter=attention][data-layer='1']")
    page.wait_for_selector("#way a[data-chapter=attention][data-layer='1'][aria-current]")
    assert page.input_value("#layer") == "1"
    assert page.eval_on_selector_all("#way [aria-current]", "all => all.length") == 1
    page.click("#way a[data-chapter=thinking][data-layer='0']")
    page.wait_for_selector("#way a[data-chapter=thinking][data-layer='0'][aria-current]")
    assert page.input_value("#layer") == "0"
    page.go_back()
    page.wait_for_function("() => $('layer').value === '1'")
    assert page.evaluate("[state.layer, location.hash]") == [1, "#attention"]
    listed = page.eval_on_selector_all("#chapter option", "all => all.map(one => one.value)")
    assert listed == page.eval_on_selector_all("main section:not([hidden])", "all => all.map(one => one.id)")
    page.select_option("#chapter", "learning")
    page.wait_for_function("() => chapter === 'learning'")
    assert page.input_value("#chapter") == "learning"
    assert page.evaluate("$('learning').getBoundingClientRect().top") < 400


@needs_chromium
def test_the_tour_goes_its_whole_way_by_keyboard_and_its_answers_are_those_of_the_model(page: Any, loaded: Run) -> None:
    page.click("#tour-start")
    seen = []
    while True:
        page.wait_for_function(
            "n => document.querySelector('#tour-place').textContent.startsWith(n)", arg=f"{len(seen) + 1} of"
        )
        seen.append(page.text_content("#tour-title"))
        assert page.evaluate("document.activeElement.id") == "tour-title"
        answers, veiled = [], page.eval_on_selector_all(".veiled", "all => all.map(one => one.id)")
        for option in page.query_selector_all("#tour-options button"):
            option.click()
            answers.append((option.text_content(), page.text_content("#tour-answer")))
        assert page.query_selector_all(".veiled") == []
        assert len({text for text, _ in answers}) == len(answers) > 1
        assert all(text for text, _ in answers)
        assert sum(answer.startswith("Yes. ") for _, answer in answers) == 1, answers
        assert len(page.query_selector_all(".spot")) == 1
        if len(seen) == 2:
            counts = [int(text) for text, _ in answers]
            assert counts == sorted(counts)
            page.focus("#distribution .number")
            page.keyboard.press("Enter")
            page.wait_for_selector("#sum:not([hidden])")
            page.keyboard.press("Escape")
            assert (page.is_hidden("#sum"), page.is_hidden("#tour")) == (True, False)
        if page.text_content("#tour-next") == "done":
            break
        assert veiled == []
        page.focus("#tour-title")
        page.keyboard.press("ArrowRight")
    assert len(seen) >= 12
    assert "continuation" in veiled
    [right] = [text for text, answer in answers if answer.startswith("Yes. ")]
    begin = loaded.config.sampling.begin_document is True
    tour = trace(loaded.model, loaded.tokenizer.encode_prompt("Alice gave Bob her book", begin))
    assert right == page.evaluate("id => D.vocabulary[id]", int(tour.logits[-1].argmax()))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    assert page.is_hidden("#tour")
    assert page.evaluate("D.prompt") == PROMPT
    assert page.query_selector_all(".spot") == []
    page.click("#tour-start")
    page.evaluate("visit(TOUR.length)")
    page.click("#tour-next:has-text('done')")
    assert page.is_hidden("#tour")
    assert page.evaluate("document.activeElement.closest('table').id") == "switches"


@needs_chromium
def test_of_bytes_too_the_tour_asks_what_can_be_answered(loaded: Run, tmp_path: Path) -> None:
    tokenizer = build_tokenizer("byte", 0, [])
    model = random_model(vocab_size=tokenizer.vocab_size, context_length=32, n_heads=2)
    config = loaded.config.model_copy(update={"model": model.config})
    other = Run(RunFolder(tmp_path), config, tokenizer, model, 0)
    (tmp_path / "page.html").write_text(explain(other, "A cat"), encoding="utf-8")
    with chromium() as page:
        page.goto(f"file://{tmp_path / 'page.html'}")
        options = page.evaluate(
            """async () => {
              const seen = [];
              $("tour-start").click();
              for (let i = 0; i < steps().length; i++) {
                await visit(i);
                seen.push(Array.from($("tour-options").children, option => option.textContent));
              }
              return seen;
            }"""
        )
    assert len(options) >= 12
    assert all(len(set(texts)) > 1 and all(map(str.strip, texts)) for texts in options), options


def habit(rule: str, share: float, chance: float) -> dict[str, Any]:
    return {"rule": rule, "share": share, "chance": chance, "places": 100, "weight": 0.1}


@needs_chromium
def test_habits_are_told_beside_chance_and_pick_their_head_by_keyboard(page: Any, loaded: Run) -> None:
    kept = kept_habits(loaded)
    assert kept
    rows = page.locator("#habit-table tbody tr")
    assert rows.count() == loaded.config.model.n_layers * loaded.config.model.n_heads
    best = kept.heads[1][0].habits[0]
    told = f"of {best.places:,} places; by chance {100 * best.chance:.1f}%; mean weight {100 * best.weight:.1f}%"
    assert told in rows.nth(2).text_content()
    page.focus("#habit-table button:has-text('layer 2, head 1')")
    page.keyboard.press("Enter")
    assert (page.input_value("#layer"), page.input_value("#head")) == ("1", "0")
    assert page.evaluate("document.activeElement.textContent") == "layer 2, head 1"
    assert page.eval_on_selector_all("#habit-table [aria-pressed=true]", "all => all.length") == 1
    neuron = re.findall(r"neuron (\d+)", page.text_content("#strongest"))[0]
    shown = page.eval_on_selector("#strongest ul", "list => Array.from(list.children, one => one.textContent)")
    for text, (before, token, after, _) in zip(shown, kept.neurons[1][neuron], strict=True):
        assert text.endswith(f"{before}{token}{after}".replace("·", " "))
    told = [
        page.evaluate("habits => habitRow({ habits, pairs: [] }, 0).cells[1].textContent", habits)
        for habits in (
            [habit("itself", 0.6, 0.5)],
            [habit("itself", 0.2, 0.02), habit("its own document", 0.9, 0.3)],
            [habit("itself", 0.2, 0.15), habit("its own document", 0.9, 0.3)],
        )
    ]
    assert ["no single rule" in words for words in told] == [True, False, False]
    assert ["itself" in words for words in told] == [True, True, False]
    assert ["its own document" in words for words in told] == [False, False, True]
    page.evaluate("D.habits = null; drawHabits()")
    assert "This run keeps none" in page.text_content("#habits")
    assert rows.count() == 0
