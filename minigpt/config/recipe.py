"""Recipes: a YAML file and `section.key=value` changes become one checked `Config`, or one clear error."""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from minigpt.config.choices import AUTO
from minigpt.config.hyperparameters import Config
from minigpt.config.section import Section
from minigpt.errors import UserError, nearest

Tree = dict[str, Any]


def load_recipe(path: Path, changes: Iterable[str] = ()) -> Config:
    """The config that a YAML file and `section.key=value` changes describe; UserError where they do not."""
    return make_config(read_yaml(path), path, changes)


def make_config(tree: Tree, path: Path, changes: Iterable[str] = (), changed_in: str = "command line") -> Config:
    """The config of a recipe read from `path` with changes made in a place of that name; UserError where it is none."""
    tree = copy.deepcopy(tree)
    for change in changes:
        apply_change(tree, change)
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(describe(error, path, set(changes), changed_in)) from None


def save_recipe(config: Config, path: Path) -> None:
    """Write `config` as YAML."""
    path.write_text(to_yaml(config), encoding="utf-8")


def to_yaml(config: Config) -> str:
    """Every value of `config`, in the order of hyperparameters.py; of an open recipe what it says."""
    return yaml.safe_dump(config.dump(), sort_keys=False, allow_unicode=True)


def check_chosen(config: Config, path: Path) -> None:
    """UserError where the recipe of `path` leaves something open that nobody is going to choose."""
    if config.auto:
        raise UserError(f"{path}: {config.auto[0]} = auto: is chosen when a run begins; give a value here")


def json_schema() -> str:
    """JSON schema of a recipe, with which editors complete keys and show their meaning."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def parse_yaml(text: str) -> Any:
    """The value that a YAML text holds; yaml.YAMLError where it holds none."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's own, where a text looks like a date or a number and is none, or is nested too deeply
        raise yaml.YAMLError(f"a value that cannot be read: {error}") from None


class _Loader(yaml.SafeLoader):
    """YAML in which a key that is given twice is an error and not a silent choice of the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Tree:  # type: ignore[override]
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key_node.value}' is given twice", problem_mark=key_node.start_mark
                )
            seen.add(str(key_node.value))
        return dict(super().construct_mapping(node, deep))  # type: ignore[arg-type]


def read_yaml(path: Path) -> Tree:
    """The mapping that a YAML file holds (an empty file holds an empty one)."""
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        siblings = [str(path.with_name(other.name)) for other in path.parent.glob("*.yaml")]
        raise UserError(f"{path}: no such recipe{nearest(str(path), siblings)}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}; save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{place}: not valid YAML ({error.problem or error.context})") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds a {type(tree).__name__}; a recipe is sections of `key: value` lines")
    return {key: {} if value is None else value for key, value in tree.items()}


def apply_change(tree: Tree, change: str) -> None:
    """Set one `section.key=value` in the tree of a recipe; the value is read as YAML."""
    key, equals, text = change.partition("=")
    section, dot, name = key.partition(".")
    if not (equals and dot and section and name):
        raise UserError(f"command line: '{change}' is not a change; write section.key=value, such as model.n_layers=6")
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        value = text  # such as a prompt with a colon or a bracket
    if isinstance(value, dict):
        value = text  # no key holds a mapping: this is a prompt such as `Juliet:`, or an address
    values = tree.setdefault(section, {})
    if isinstance(values, dict):
        values[name] = value


def describe(
    error: ValidationError,
    path: Path,
    changes: Iterable[str] = (),
    changed_in: str = "command line",
    model: type[Section] = Config,
) -> str:
    """One line for the first thing that is wrong: where, which key, which value, what would be right."""
    first, *others = error.errors()
    key = ".".join(str(part) for part in first["loc"][: 2 if model is Config else 3])
    value = first["input"]
    shown = f" = {_short(value)}" if first["loc"][1:] and not isinstance(value, dict | Section) else ""
    if any(change.startswith((f"{key}.", f"{key}=")) for change in changes) and first["loc"][1:]:
        place = changed_in
    else:
        place = f"{path} with the changes given" if changes else str(path)
    more = f" (and {len(others)} more)" if others else ""
    return f"{place}: {key}{shown}: {_remedy(first, model)}{more}".replace(": : ", ": ")


def _remedy(detail: ErrorDetails, model: type[Section]) -> str:
    if detail["type"] == "extra_forbidden":
        valid = _valid_names(detail["loc"][:-1], model)
        near = nearest(str(detail["loc"][-1]), valid)
        return "unknown key" + (near or f"; valid here: {', '.join(valid)}")
    if detail["type"] in ("model_type", "model_attributes_type"):
        return f"must be a section of `key: value` lines: {', '.join(_valid_names(detail['loc'], model))}"
    if detail["type"] == "literal_error":
        expected = detail["ctx"]["expected"]
        names = expected.replace("'", "").replace(" or ", ", ").split(", ")
        return f"must be {expected}{nearest(str(detail['input']), names)}"
    if str(detail["input"]).strip().lower() == AUTO and model is Config:
        keys = Config.open_keys()
        is_open = ".".join(map(str, detail["loc"])) in keys
        return "write 'auto'" if is_open else f"may not be auto; these may: {', '.join(keys)}"
    message = detail["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be").replace("String should", "must")


def _valid_names(location: tuple[int | str, ...], model: Any) -> list[str]:
    for part in location:
        fields = getattr(model, "model_fields", None)
        model = fields[str(part)].annotation if fields else get_args(model)[-1]  # a section, or a mapping of them
    return list(model.model_fields)


def _short(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # a value that contains itself
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
