"""Imports point down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minigpt"
ALLOWED: dict[str, set[str]] = {  # each room after those that it may import
    "errors": set(),
    "storage": {"errors"},
    "config": {"storage", "errors"},
    "tokenizers": {"storage", "errors"},
    "model": {"config"},
    "hardware": {"model", "config", "errors"},
    "optimizers": {"config"},
    "data": {"tokenizers", "config", "storage", "errors"},
    "runs": {"model", "tokenizers", "config", "storage", "errors"},
    "inference": {"hardware", "model", "config", "errors"},
    "generation": {"inference", "hardware", "runs", "model", "config", "errors"},
    "inspection": {"generation", "hardware", "runs", "data", "model", "tokenizers", "config", "storage", "errors"},
    "evaluation": {"inspection", "generation", "hardware", "runs", "data", "model", "tokenizers", "config", "errors"},
    "training": {
        "evaluation", "generation", "inference", "hardware", "runs", "optimizers", "data", "model", "tokenizers",
        "config", "storage", "errors",
    },
    "experiments": {
        "training", "evaluation", "hardware", "runs", "optimizers", "data", "model", "tokenizers", "config", "storage",
        "errors",
    },
    "interop": {"training", "runs", "model", "tokenizers", "config", "storage", "errors"},
    "serving": {"inspection", "hardware", "runs", "errors"},
    "cli": {
        "experiments", "interop", "serving", "training", "evaluation", "inspection", "generation", "hardware", "runs",
        "tokenizers", "config", "storage", "errors",
    },
    "__main__": {"cli"},
    "__init__": {
        "experiments", "training", "evaluation", "inspection", "interop", "generation", "hardware", "runs", "config",
        "storage", "errors",
    },
}  # fmt: skip


def test_rooms_are_in_order() -> None:
    rooms = list(ALLOWED)
    for i, name in enumerate(rooms):
        assert ALLOWED[name] <= set(rooms[:i])


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{name}" for name in names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == "minigpt":
                inside = rest.partition(".")[0]
                rooms.add(inside if inside in ALLOWED else "__init__")  # what is no room stands in the interface
    return rooms - {room(path)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_rooms_below_its_own(path: Path) -> None:
    assert imported_rooms(path) <= ALLOWED[room(path)]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250


def test_the_interface_imports_nothing_heavy_before_it_is_used() -> None:
    script = "import sys, minigpt; print(sorted({'torch', 'numpy', 'pydantic', 'pandas', 'typer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
