"""A search: a YAML file that says which hyperparameters to try, on top of which recipe, and for how long."""

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from minigpt.config.hyperparameters import Place
from minigpt.config.recipe import describe, known_keys, near_key
from minigpt.config.section import Section
from minigpt.config.yaml_file import read_yaml
from minigpt.errors import UserError

if TYPE_CHECKING:
    from optuna import Trial


def _single(value: object) -> object:
    if isinstance(value, list | dict):
        raise ValueError("must be a number, a text, true, false or null")
    return value


Value = Annotated[bool | int | float | str | None, BeforeValidator(_single)]
Values = dict[str, Value]
Bound = Annotated[int, Field(gt=-(2**63), lt=2**63)] | Annotated[float, Field(gt=-1e300, lt=1e300)]


GIVEN = {
    "run.seed": "name seeds in study.seeds",
    "run.name": "name the study in study.name",
    "run.directory": "runs lie in the study's folder, runs/NAME",
}
"""Hyperparameters that are set otherwise, and how."""


class Dimension(Section):
    """What a hyperparameter may be: some `choices`, or what lies from `low` to `high`."""

    choices: list[Value] | None = Field(None, min_length=1)
    low: Bound | None = None
    high: Bound | None = None
    log: bool = False
    """Whether the range is searched by factors and not by differences."""
    step: int | float | None = Field(None, gt=0)
    """Distance of the values of a range. Where low and high are whole numbers, only such are tried."""
    when: dict[str, Value] = Field(default_factory=dict)
    """Values of earlier hyperparameters for which this one is searched; for others it stays as the recipe has it."""

    @model_validator(mode="before")
    @classmethod
    def take_lists(cls, value: Any) -> Any:
        """A plain list is its choices."""
        return {"choices": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def check_range(self) -> Self:
        """Refuse what is neither choices nor a range, or both."""
        is_range = self.low is not None and self.high is not None
        if is_range == (self.choices is not None) or (not is_range and (self.log or self.step)):
            raise ValueError("must be a list of choices, or have low and high (and log or step)")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
            if self.log and (self.low <= 0 or self.step):
                raise ValueError("with log, low must be positive and step left out")
            if self.whole and isinstance(self.step, float):
                raise ValueError(f"step ({self.step:g}) must be a whole number where low and high are")
        return self

    @property
    def whole(self) -> bool:
        """Whether a range has whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def has(self, value: Value) -> bool:
        """Whether it could ever be this."""
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return isinstance(value, int | float) and self.low <= value <= self.high

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether this one is searched where the earlier ones have these values."""
        return all(key in values and values[key] == value for key, value in self.when.items())

    def suggest(self, trial: "Trial", key: str) -> Value:
        """A value for a trial."""
        if self.choices is not None:
            value: Value = trial.suggest_categorical(key, self.choices)
            return value
        assert self.low is not None
        assert self.high is not None
        if self.whole:
            return trial.suggest_int(key, int(self.low), int(self.high), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self.high, step=self.step, log=self.log)


class Study(Section):
    """How to search, and when to stop."""

    name: str = Field("sweep", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Its folder is runs/NAME; a study of the same name is gone on with."""
    sampler: Literal["tpe", "random", "grid"] = "tpe"
    """tpe (Bergstra 2011) learns from earlier trials; random; grid takes all combinations of choices."""
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = Field(default=[1337], min_length=1)
    """Each setting is trained with each of them; their mean validation loss counts."""
    trials: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    """By the clock, of one call of the command."""
    tokens: int | None = Field(None, ge=1)
    """Trained on, over all trials."""
    prune: bool = True
    """Stop a trial whose loss is above the median of what those that ended had after the same share of their budget."""
    storage: str | None = None
    """Database URL for several machines, such as postgresql+psycopg://USER:PASSWORD@HOST/DATABASE (with its driver:
    pip install 'psycopg[binary]'); null: a SQLite file in the study's folder."""

    @model_validator(mode="after")
    def check_end(self) -> Self:
        """Refuse a search without end, and seeds that are named twice."""
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ from each other: {self.seeds}")
        if self.sampler != "grid" and self.trials is None and self.minutes is None and self.tokens is None:
            raise ValueError("set study.trials, study.minutes or study.tokens, so that the search has an end")
        return self


class Search(Section):
    """A whole file."""

    recipe: Place
    """Of the runs; relative to this file."""
    changes: Values = Field(default_factory=dict)
    """To the recipe, in all trials: section.key with its value."""
    study: Study
    space: dict[str, Dimension] = Field(min_length=1)
    """Hyperparameters to search (section.key), in an order in which each comes after those that it depends on."""

    @model_validator(mode="after")
    def check_space(self) -> Self:
        """Refuse unknown keys, dimensions that depend on later ones, and grids of ranges."""
        known = known_keys()
        seen: set[str] = set()
        for key in [*self.changes, *self.space]:
            if key in GIVEN:
                raise ValueError(f"{key} cannot be searched or changed here: {GIVEN[key]}")
            if key not in known:
                raise ValueError(f"{key} cannot be searched or changed here{near_key(key)}")
            if key in self.changes and key in self.space and not self.space[key].when:
                raise ValueError(f"{key} is changed and searched; take it out of changes or out of space")
        for key, dimension in self.space.items():
            for other, value in dimension.when.items():
                if other not in seen:
                    raise ValueError(f"{key}: when names {other}, which is not searched before it")
                if not self.space[other].has(value):
                    raise ValueError(f"{key}: when waits for {other} = {value}, which it never is")
            if self.study.sampler == "grid" and dimension.choices is None:
                raise ValueError(f"{key}: a grid needs choices; list them, or use sampler: tpe or random")
            seen.add(key)
        return self

    def grid(self) -> list[Values]:
        """All settings of a space of choices, each once."""
        settings: list[Values] = []
        for values in product(*(dimension.choices or [] for dimension in self.space.values())):
            setting: Values = {}
            for (key, dimension), value in zip(self.space.items(), values, strict=True):
                if dimension.holds(setting):
                    setting[key] = value
            if setting not in settings:
                settings.append(setting)
        return settings

    def suggest(self, trial: "Trial") -> Values:
        """A setting for a trial."""
        setting: Values = {}
        for key, dimension in self.space.items():
            if dimension.holds(setting):
                setting[key] = dimension.suggest(trial, key)
        return setting


def load_search(path: Path) -> Search:
    """The search that a YAML file describes; UserError where it does not."""
    try:
        return Search.model_validate(read_yaml(path, Search))
    except ValidationError as error:
        raise UserError(describe(error, path, model=Search)) from None
