"""A step of inference in int8 is shared out among threads."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import torch
from conftest import random_model
from test_native import token_by_token, tokens
from torch import Tensor

from minigpt.inference import compiled, native
from minigpt.inference.native import Int8GPT

pytestmark = pytest.mark.skipif(compiled.load() is None, reason="needs a C++ compiler")


@pytest.fixture(autouse=True, params=["with OpenMP", "with threads of its own"])
def _threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "with OpenMP":
        library = compiled._load([*(compiled.find_compiler() or ()), *compiled.OPTIONS])
        monkeypatch.setattr(native, "load", lambda: library)


@contextmanager
def usual_threads() -> Iterator[None]:
    """Afterwards torch has as many threads as before."""
    usual = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(usual)


@pytest.mark.parametrize("n_texts", [1, 5])
def test_any_number_of_threads_gives_the_same(n_texts: int) -> None:
    model, text = Int8GPT(random_model(n_kv_heads=2, context_length=40)), tokens(n_texts, 40)
    logits = []
    with usual_threads():
        for n_threads in (1, 2, 3, 7):
            torch.set_num_threads(n_threads)
            logits.append(token_by_token(model, text, 9))
    assert all(torch.equal(logits[0], other) for other in logits[1:])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a system that forks")
def test_a_forked_process_does_not_wait_for_threads_of_its_parent() -> None:
    model, text = Int8GPT(random_model(context_length=40)), tokens(3, 40)
    with usual_threads():
        torch.set_num_threads(2)
        expected = token_by_token(model, text, 9)
        child = os.fork()
        if child == 0:
            os._exit(0 if torch.equal(token_by_token(model, text, 9), expected) else 1)
        assert os.waitpid(child, 0)[1] == 0


def test_threads_of_python_wait_for_each_other() -> None:
    model, text = Int8GPT(random_model(context_length=40)), tokens(3, 40)
    expected = token_by_token(model, text, 9)

    def write(n_threads: int) -> Tensor:
        torch.set_num_threads(n_threads)
        return token_by_token(model, text, 9)

    with usual_threads(), ThreadPoolExecutor(3) as pool:
        assert all(torch.equal(logits, expected) for logits in pool.map(write, (1, 2, 3, 2, 1, 2)))
