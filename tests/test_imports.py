"""Imports point down only."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "minigpt"
ALLOWED = {
    "errors": set(),
    "config": {"errors"},
    "tokenizers": {"errors"},
    "model": {"config"},
    "optimizers": {"config"},
    "data": {"config", "errors", "tokenizers"},
    "hardware": {"config", "errors", "model"},
    "inference": {"config", "hardware", "model"},
    "generation": {"config", "errors", "hardware", "inference", "model", "runs"},
    "evaluation": {"data", "model"},
    "runs": {"config", "errors", "tokenizers", "model"},
    "training": {
        "config", "errors", "tokenizers", "model", "optimizers", "data", "generation", "evaluation", "inference",
        "runs", "hardware",
        "__init__",
    },
    "inspection": {"config", "errors", "tokenizers", "model", "generation", "runs", "data", "evaluation"},
    "serving": {"errors", "inspection", "runs"},
    "interop": {"config", "errors", "model"},
    "experiments": {"__init__", "config", "errors", "hardware", "model", "planning", "runs", "training"},
    "assessment": {"data", "errors", "evaluation", "hardware", "runs", "tokenizers", "training"},
    "planning": {"config", "hardware", "model", "optimizers", "tokenizers", "training"},
    "cli": {
        "config", "errors", "runs", "tokenizers", "training", "experiments", "assessment", "planning",
        "hardware", "generation", "inspection", "serving",
    },
    "__main__": {"cli"},
    "__init__": set(),
}  # fmt: skip


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
