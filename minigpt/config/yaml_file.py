"""YAML as recipes need it: the core of YAML 1.2, and a text wherever a key holds one."""

import re
from pathlib import Path
from typing import Any, get_args

import yaml

from minigpt.config.section import Section, holds
from minigpt.errors import UserError, nearest_path

Tree = dict[str, Any]

LARGEST = 2**20
"""Bytes of a file."""
TAG = "tag:yaml.org,2002:"
NUMBERS = (f"{TAG}int", f"{TAG}float")
PLAIN = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}
"""What a value without quotes can be but a text. YAML 1.1 sees octal, base 60, dates and yes and no in it as well."""


class _Loader(yaml.SafeLoader):
    """A loader to which a key that is given twice is an error, and so is what stands for something elsewhere."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - of the base class

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(
                problem=f"'*{event.anchor}' stands for another value", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Tree:  # type: ignore[override]
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key '{key_node.value}' is given twice", problem_mark=key_node.start_mark
                )
            seen.add(str(key_node.value))
        return dict(super().construct_mapping(node, deep))  # type: ignore[arg-type]


for kind, pattern in PLAIN.items():
    _Loader.add_implicit_resolver(TAG + kind, re.compile(f"(?:{pattern})$"), None)
_Loader.add_constructor(NUMBERS[0], lambda _, node: int(node.value))
_Loader.add_constructor(NUMBERS[1], lambda _, node: float(re.sub(r"\.(?=[a-zA-Z])", "", node.value)))


class _Dumper(yaml.SafeDumper):
    """A dumper that escapes line ends and whatever cannot be seen: without quotes, some of them come back as others."""


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar(f"{TAG}str", text, style=None if text.isprintable() else '"')
)


def write_yaml(tree: Tree) -> str:
    """YAML that `parse_yaml` reads as the same tree."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def parse_yaml(text: str, model: type[Section] | None = None) -> Any:
    """The value that a YAML text holds, by what the keys of `model` are; yaml.YAMLError where it holds none."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if model is not None:
            _keep_texts(node, model)
        return loader.construct_document(node)
    except (ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML's own, where a tag says what a value is not, or values are nested too deeply
        raise yaml.YAMLError(f"a value that cannot be read: {error}") from None


def read_yaml(path: Path, model: type[Section]) -> Tree:
    """The mapping that a YAML file of `model` holds (an empty file holds an empty one)."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"{path}: has more than {LARGEST:,} bytes, and is no recipe; name a YAML file")
        tree = parse_yaml(content.decode("utf-8-sig"), model)
    except FileNotFoundError:
        hint = nearest_path(path, path.parent.glob("*.yaml")) or "; name a YAML file, such as configs/stories.yaml"
        raise UserError(f"{path}: no such recipe{hint}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a YAML file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}; save the file as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{place}: not valid YAML ({error.problem or error.context}); mend it there") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML ({' '.join(str(error).split())}); mend that value") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"{path}: holds a {type(tree).__name__}; a recipe is sections of `key: value` lines")
    return {key: {} if value is None else value for key, value in tree.items()}


def read_value(text: str, annotation: Any) -> Any:
    """The value of a key of that type behind the = of a change: of one that holds text, all of it as it stands."""
    if holds(annotation, str):
        return None if text == "null" and type(None) in get_args(annotation) else text
    try:
        return parse_yaml(text)
    except yaml.YAMLError:
        return text


def _keep_texts(node: yaml.Node, model: type[Section]) -> None:
    """Make texts, as they are written, of what looks like numbers under keys that hold text."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        field = model.model_fields.get(key.value) if isinstance(key, yaml.ScalarNode) else None
        if field is None:
            continue
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            _keep_texts(value, field.annotation)
        elif holds(field.annotation, str) and value.tag in NUMBERS:
            value.tag = f"{TAG}str"
