"""Recipes: a YAML file and `section.key=value` changes become one checked `Config`, or one clear error."""

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from minigpt.config.choices import AUTO
from minigpt.config.hyperparameters import Config
from minigpt.config.section import Section
from minigpt.config.yaml_file import Tree, read_value, read_yaml, write_yaml
from minigpt.errors import UserError, nearest
from minigpt.storage.checksums import checksum
from minigpt.storage.writing import write_whole

CHECKSUM = b"# checksum "


def load_recipe(path: Path, changes: Iterable[str] = ()) -> Config:
    """The config that a YAML file and `section.key=value` changes describe; UserError where they do not."""
    return make_config(read_yaml(path, Config), path, dict(map(read_change, changes)))


def make_config(tree: Tree, path: Path, changes: Mapping[str, Any], changed_in: str = "command line") -> Config:
    """The config of a recipe read from `path` with changes made in a place of that name; UserError where it is none."""
    tree = copy.deepcopy(tree)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        values = tree.setdefault(section, {})
        if isinstance(values, dict):
            values[name] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise UserError(describe(error, path, changes, changed_in)) from None


def save_recipe(config: Config, path: Path) -> None:
    """Write `config` as YAML, with a last line by which `is_as_written` knows it."""
    text = to_yaml(config).encode()
    write_whole(path, text + CHECKSUM + checksum(text).encode() + b"\n")


def is_as_written(path: Path) -> bool:
    """Whether a file is what `save_recipe` wrote."""
    text, found, rest = path.read_bytes().rpartition(CHECKSUM)
    return bool(found) and rest.strip() == checksum(text).encode()


def to_yaml(config: Config) -> str:
    """Every value of `config`, in the order of hyperparameters.py; of an open recipe what it says."""
    return write_yaml(config.dump())


def check_chosen(config: Config, path: Path) -> None:
    """UserError where the recipe of `path` leaves something open that nobody is going to choose."""
    if config.auto:
        raise UserError(f"{path}: {config.auto[0]} = auto: is chosen when a run begins; give a value here")


def json_schema() -> str:
    """JSON schema of a recipe, with which editors complete keys and show their meaning."""
    return json.dumps(Config.model_json_schema(), indent=1) + "\n"


def read_change(change: str) -> tuple[str, Any]:
    """Key and value of one `section.key=value`."""
    key, equals, text = change.partition("=")
    section, dot, name = key.partition(".")
    if not (equals and dot and section and name):
        example = next((f"{known}={text}" for known in known_keys() if known.endswith(f".{key}")), "model.n_layers=6")
        raise UserError(f"command line: '{change}' is not a change; write section.key=value, such as {example}")
    if section not in Config.model_fields:
        raise UserError(f"command line: {key}: there is no section '{section}'{near_key(key)}")
    fields = getattr(Config.model_fields[section], "annotation", Section).model_fields
    return key, read_value(text, getattr(fields.get(name), "annotation", str))


def read_sections(sections: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Values by `section.key`, of sections (`{"model": {"n_layers": 6}}`) and of such keys; a path is a text.

    UserError, which begins with the name of their place, where there is no such section, or it holds no keys.
    """
    values: dict[str, Any] = {}
    for name, value in sections.items():
        section, dot, _ = name.partition(".")
        if section not in Config.model_fields:
            near = nearest(section, Config.model_fields) or near_key(name)
            raise UserError(f"{place}: {name} = {_short(value)}: there is no section '{section}'{near}")
        if not dot and not isinstance(value, Mapping):
            raise UserError(f"{place}: {name} = {_short(value)}: must be a dict of its keys{near_key(f'{name}.')}")
        values |= {name: value} if dot else {f"{name}.{key}": value for key, value in value.items()}
    return {key: str(value) if isinstance(value, PurePath) else value for key, value in values.items()}


def near_key(key: str) -> str:
    """What there is in place of an unknown section.key: the nearest, all of its section, or the sections."""
    section, _, name = key.partition(".")
    names = [known.removeprefix(f"{section}.") for known in known_keys() if known.startswith(f"{section}.")]
    if names:
        return nearest(name, names, f"{section}.") or f"; valid here: {', '.join(names)}"
    return nearest(key, known_keys()) or f"; sections are {', '.join(Config.model_fields)}"


def known_keys() -> list[str]:
    """Every section.key."""
    sections = Config.model_fields.items()
    return [f"{name}.{key}" for name, field in sections for key in getattr(field.annotation, "model_fields", ())]


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
    is_value = first["loc"][1:] and first["type"] != "invalid_key" and not isinstance(value, dict | Section)
    shown = f" = {_short(value)}" if is_value else ""
    if any(change == key or change.startswith(f"{key}.") for change in changes) and first["loc"][1:]:
        place = changed_in
    else:
        place = f"{path} with the changes given" if changes else str(path)
    more = f" (and {len(others)} more)" if others else ""
    return f"{place}: {key}{shown}: {_remedy(first, model)}{more}".replace(": : ", ": ")


def _remedy(detail: ErrorDetails, model: type[Section]) -> str:
    if detail["type"] == "extra_forbidden":
        if (name := str(detail["loc"][-1])) in known_keys():
            section, _, key = name.partition(".")
            return f"a key stands below its section; write '{section}:' and, indented below it, '{key}: ...'"
        valid = _valid_names(detail["loc"][:-1], model)
        before = "".join(f"{part}." for part in detail["loc"][:-1])
        near = nearest(name, valid, before)
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
    if detail["type"] == "invalid_key":
        return "keys are names, such as model and n_layers; write one"
    if detail["type"] == "string_unicode":
        return "must be UTF-8; rename what it names"
    if detail["type"] == "string_type":
        return "must be a text; write it in quotes"
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
