"""Hyperparameters that a recipe leaves open: `auto` stands for what is chosen when training begins."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from pydantic import PrivateAttr, ValidatorFunctionWrapHandler, model_validator

from minigpt.config.section import Section

AUTO = "auto"


def open_to_choice(schema: dict[str, Any]) -> None:
    """Marks such a field: in the schema for editors it may be a text as well."""
    if "anyOf" in schema:
        schema["anyOf"].append({"type": "string"})
    elif schema["type"] != "string":
        schema["type"] = [schema["type"], "string"]


class OpenRecipe(Section):
    """A recipe of sections some of whose fields may be `auto`; they hold their defaults until they are chosen."""

    PLACEHOLDERS: ClassVar[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {}
    """What holds the place of a field until it is chosen, by what else the recipe says, where a default may not fit."""

    _tree: dict[str, Any] = PrivateAttr(default_factory=dict)
    _auto: tuple[str, ...] = PrivateAttr(())

    @property
    def auto(self) -> tuple[str, ...]:
        """Keys (section.name) that are yet to be chosen."""
        return self._auto

    def chosen(self, values: Mapping[str, Any]) -> Self:
        """The recipe with a value for each of its keys in `auto`."""
        assert set(values) == set(self._auto)
        return type(self).model_validate(_put(self._tree, values))

    @property
    def asked(self) -> Mapping[str, Any]:
        """What an open recipe says, `auto` included."""
        return self._tree

    def dump(self) -> dict[str, Any]:
        """Every value; of an open recipe only what it says, as the others follow from what will be chosen."""
        return self._tree or self.model_dump()

    def value(self, key: str) -> Any:
        """What stands under `section.name`."""
        section, name = key.split(".")
        return getattr(getattr(self, section), name)

    @model_validator(mode="wrap")
    @classmethod
    def leave_open(cls, tree: Any, validate: ValidatorFunctionWrapHandler) -> Self:
        """Take `auto` out of the sections, and remember where it stood."""
        auto = [key for key in cls.open_keys() if _get(tree, key) == AUTO]
        held = dict.fromkeys(auto) | {key: make(tree) for key, make in cls.PLACEHOLDERS.items() if key in auto}
        recipe: Self = validate(_put(tree, held) if auto else tree)
        if auto:
            recipe._tree, recipe._auto = tree, tuple(auto)
        return recipe

    @classmethod
    def open_keys(cls) -> list[str]:
        """Keys that may be `auto`."""
        sections = ((name, field.annotation) for name, field in cls.model_fields.items())
        return [
            f"{section}.{name}"
            for section, model in sections
            if isinstance(model, type) and issubclass(model, Section)
            for name, field in model.model_fields.items()
            if field.json_schema_extra is open_to_choice
        ]


def _get(tree: Any, key: str) -> Any:
    section, name = key.split(".")
    values = tree.get(section) if isinstance(tree, dict) else None
    return values.get(name) if isinstance(values, dict) else None


def _put(tree: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tree with values; None takes a key out."""
    changed = {name: dict(section) if isinstance(section, dict) else section for name, section in tree.items()}
    for key, value in values.items():
        section, name = key.split(".")
        changed[section].pop(name)
        if value is not None:
            changed[section][name] = value
    return changed
