"""The C++ of inference: who compiles it, for which instructions, and where it is kept."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from conftest import random_model
from torch import Tensor

from minigpt.errors import UserError
from minigpt.inference import compiled, native
from minigpt.model.cache import KVCache

pytestmark = pytest.mark.skipif(compiled.load() is None, reason="needs a C++ compiler")

UNHURRIED = (*compiled.OPTIONS, "-O0")
"""Makes slow code, but makes it soon."""


@pytest.fixture(autouse=True)
def _nothing_is_remembered() -> Iterator[None]:
    functions = compiled.load, compiled.load_for, compiled._tell
    for function in functions:
        function.cache_clear()
    yield
    for function in functions:
        function.cache_clear()


def test_the_code_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled, "OPTIONS", UNHURRIED)
    assert compiled.load() is not None
    assert len(list((tmp_path / "minigpt").iterdir())) == 1
    compiled.load_for.cache_clear()
    compiled.load.cache_clear()
    monkeypatch.setattr(compiled.subprocess, "run", lambda *_, **__: pytest.fail("compiled again"))
    assert compiled.load() is not None


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("instruction_set", ["avx512_vnni", "avx_vnni", "avx2"])
def test_both_compilers_know_every_instruction_set_of_intel_and_amd(
    compiler: str, instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which(compiler) or "sse2" not in compiled.instructions():
        pytest.skip(f"needs {compiler} and an Intel or AMD processor")
    monkeypatch.setattr(compiled, "OPTIONS", UNHURRIED)
    assert compiled.load_for(instruction_set, (compiler,)) is not None


def logits(compiler: str, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    monkeypatch.setenv("CXX", f"{compiler} -Wall")
    library = compiled.load()
    assert library is not None
    monkeypatch.setattr(native, "load", lambda: library)
    model = random_model(n_kv_heads=2)
    return native.Int8GPT(model).next_logits(torch.arange(30).view(2, 15), KVCache(model.config))


def test_the_compiler_that_is_wished_for_compiles_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("clang++") or not shutil.which("g++"):
        pytest.skip("needs g++ and clang++")
    by_gnu = logits("g++", monkeypatch)
    compiled.load.cache_clear()
    assert torch.equal(logits("clang++", monkeypatch), by_gnu)


def test_a_compiler_that_does_not_know_the_fastest_instructions_takes_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def load_for(instruction_set: str, compiler: tuple[str, ...]) -> str | None:
        tried.append(instruction_set)
        return "library" if instruction_set == "plain" else None

    monkeypatch.setattr(compiled, "load_for", load_for)
    assert compiled.load.__wrapped__() == "library"
    assert tried == compiled.available()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"avx512_vnni", "avx2", "fma"}, ["avx512_vnni", "avx2", "plain"]),
        ({"avx_vnni", "avx2"}, ["avx_vnni", "avx2", "plain"]),
        ({"asimd", "asimddp"}, ["asimddp", "asimd", "plain"]),
        (set(), ["plain"]),
    ],
)
def test_instruction_sets_are_tried_in_order(
    found: set[str], expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "instructions", lambda: frozenset(found))
    assert compiled.available() == expected


def test_without_a_compiler_or_a_place_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiled.load() is None
    said = capsys.readouterr().err
    assert said.count("compile  the code") == 1
    assert "warning: no-such-compiler cannot compile the code for inference" in said
    monkeypatch.setenv("CXX", 'g++ "')
    with pytest.raises(UserError, match=r'CXX = g\+\+ ": is no command'):
        compiled.find_compiler()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", "")
    compiled.load.cache_clear()
    assert compiled.load() is None
    monkeypatch.undo()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled.load.cache_clear()
    compiled.load_for.cache_clear()
    assert compiled.load() is None
