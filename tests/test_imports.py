"""Imports point down only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minigpt"
ALLOWED: dict[str, set[str]] = {  # each room after those that it may import
    "__init__": set(),
    "errors": set(),
    "storage": {"errors"},
    "config": {"storage", "errors"},
    "tokenizers": {"storage", "errors"},
    "model": {"config"},
    "hardware": {"model", "config", "errors"},
    "optimizers": {"config"},
    "data": {"tokenizers", "config", "storage", "errors"},
    "runs": {"model", "tokenizers", "config", "storage", "errors"},
    "interop": {"runs", "model", "tokenizers", "config", "errors"},
    "inference": {"hardware", "model", "config", "errors"},
    "generation": {"inference", "hardware", "runs", "model", "config", "errors"},
    "inspection": {"generation", "hardware", "runs", "model", "tokenizers", "config", "storage", "errors"},
    "evaluation": {"inspection", "generation", "hardware", "runs", "data", "model", "tokenizers", "config", "errors"},
    "training": {
        "evaluation", "generation", "inference", "hardware", "runs", "optimizers", "data", "model", "tokenizers",
        "config", "storage", "errors", "__init__",
    },
    "experiments": {
        "training", "evaluation", "hardware", "runs", "optimizers", "data", "model", "tokenizers", "config", "storage",
        "errors", "__init__",
    },
    "serving": {"inspection", "runs", "errors"},
    "cli": {
        "experiments", "serving", "training", "evaluation", "inspection", "generation", "hardware", "runs",
        "tokenizers", "config", "storage", "errors",
    },
    "__main__": {"cli"},
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
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"
        for name in names:
            if name.split(".")[0] == "minigpt":
                rooms.add(name.split(".")[1] if "." in name else "__init__")
    return rooms - {room(path)}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_rooms_below_its_own(path: Path) -> None:
    assert imported_rooms(path) <= ALLOWED[room(path)]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_is_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
