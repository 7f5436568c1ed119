"""What came out of a sweep: as a table for the terminal and as a page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from minigpt.experiments.charts import LOG, chart, curve
from minigpt.experiments.pages import render
from minigpt.experiments.sweep import ERROR, RUNS, TOKENS, Sweep, counted
from minigpt.runs import RunFolder
from minigpt.training.metrics import read_metrics

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FEW = 3
"""Trials that must have ended well before importance is asked for."""


def ranked(study: "Study") -> "list[FrozenTrial]":
    """The trials that count, the best first; those without a result last."""
    return sorted(counted(study), key=lambda trial: (trial.value is None, _result(trial), trial.number))


def rows(trials: "Sequence[FrozenTrial]", keys: Sequence[str]) -> list[list[str]]:
    """A table, its head first: trial, state, setting, loss, minutes, tokens, what went wrong."""
    table = [["trial", "state", *(key.split(".", 1)[1] for key in keys), "loss", "minutes", "tokens", ""]]
    for trial in trials:
        minutes = f"{trial.duration.total_seconds() / 60:.1f}" if trial.duration else ""
        setting = [_text(trial.params.get(key, "")) for key in keys]
        loss = "" if trial.value is None else f"{trial.value:.4f}"
        tokens = f"{trial.user_attrs.get(TOKENS, 0):,}"
        error = trial.user_attrs.get(ERROR, "")
        table.append([str(trial.number), trial.state.name.lower(), *setting, loss, minutes, tokens, error])
    return table


def describe(sweep: Sweep, study: "Study", most: int = 10) -> str:
    """The best trials, for the terminal."""
    trials = ranked(study)
    table = rows(trials[:most], list(sweep.search.space))
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]) - 1)]
    lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=False)) for row in table]
    states = [trial.state.name.lower() for trial in trials]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    errors = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
    lines += [f"trials failed, for reasons such as: {errors[0]}"] if errors else []
    return "\n".join([*lines, f"{len(trials)} trials: {counts}"])


def sweep_page(sweep: Sweep, study: "Study", best: "Path | None") -> str:
    """History, importance, parallel coordinates and losses over time (HTML)."""
    trials = ranked(study)
    charts = [history(trials), *importance(study, trials), *parallel(sweep, trials), losses(trials)]
    return render(
        "sweep.html.jinja",
        name=sweep.search.study.name,
        charts=charts,
        rows=rows(trials, list(sweep.search.space)),
        best=best.read_text(encoding="utf-8") if best else "",
    )


def history(trials: "Sequence[FrozenTrial]") -> Markup:
    """Every trial's loss, and the best so far."""
    ended = sorted((trial for trial in trials if trial.state.name == "COMPLETE"), key=lambda trial: trial.number)
    numbers, values = [trial.number for trial in ended], [_result(trial) for trial in ended]
    best = [min(values[: i + 1]) for i in range(len(values))]
    return chart(
        "validation loss of each trial",
        [
            {"type": "scatter", "mode": "markers", "name": "trial", "x": numbers, "y": values},
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                "x": numbers,
                "y": best,
                "line": {"shape": "hv"},
            },
        ],
        x_title="trial",
    )


def importance(study: "Study", trials: "Sequence[FrozenTrial]") -> list[Markup]:
    """How much each hyperparameter decides whether a trial is among the best (PED-ANOVA, Watanabe 2023)."""
    import optuna

    if sum(trial.state.name == "COMPLETE" for trial in trials) < FEW:
        return []
    shares = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    names, values = list(shares)[::-1], list(shares.values())[::-1]
    bars = {"type": "bar", "orientation": "h", "x": values, "y": names}
    return [chart("importance for being among the best", [bars], x_title="share", yaxis={"automargin": True})]


def parallel(sweep: Sweep, trials: "Sequence[FrozenTrial]") -> list[Markup]:
    """Each trial as a line through the values of its hyperparameters to its loss, the best in the strongest colour."""
    ended = [trial for trial in trials if trial.state.name == "COMPLETE"]
    keys = [key for key in sweep.search.space if all(key in trial.params for trial in ended)]
    if not ended or not keys:
        return []
    scales = [_scale([trial.params[key] for trial in ended], sweep.search.space[key].log) for key in keys]
    scales.append(_scale([_result(trial) for trial in ended], log=False))
    lines = []
    for rank, trial in enumerate(reversed(ended)):  # the best last, on top
        values = [*(trial.params[key] for key in keys), _result(trial)]
        shade = (rank + 1) / len(ended)
        line = {"color": f"rgba(52,87,213,{0.08 + 0.92 * shade**3:.2f})", "width": 1 + 2 * shade**3}
        heights = [scale[_text(value)] for scale, value in zip(scales, values, strict=True)]
        texts = [f"{key} = {_text(value)}" for key, value in zip([*keys, "loss"], values, strict=True)]
        name = f"trial {trial.number}"
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": name,
                "x": list(range(len(scales))),
                "y": heights,
                "text": texts,
                "hoverinfo": "text+name",
                "line": line,
            }
        )
    ticks = [
        {"x": x, "y": height, "text": text, "showarrow": False, "xanchor": "left", "xshift": 6, "font": {"size": 11}}
        for x, scale in enumerate(scales)
        for text, height in _spaced(scale)
    ]
    axis = {"tickvals": list(range(len(scales))), "ticktext": [*keys, "loss"], "range": [-0.2, len(scales) - 0.6]}
    hidden = {"visible": False, "range": [-0.08, 1.08]}
    return [
        chart("settings and losses", lines, xaxis=axis, yaxis=hidden, annotations=ticks, showlegend=False, height=420)
    ]


def losses(trials: "Sequence[FrozenTrial]") -> Markup:
    """Validation losses over time, of all runs."""
    runs = [RunFolder(Path(run)) for trial in trials for run in trial.user_attrs.get(RUNS, {}).values()]
    here = [folder for folder in runs if folder.path.is_dir()]  # others are on the machines that trained them
    curves = [curve(folder.path.name, read_metrics(folder.metrics), "validation_loss", "seconds") for folder in here]
    return chart(
        "validation loss over time", curves, x_title="seconds", height=460, showlegend=len(curves) <= 12, yaxis=LOG
    )


def _scale(values: Sequence[Any], log: bool) -> dict[str, float]:
    """Heights from 0 to 1 of values, by their texts: numbers by size, others side by side."""
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        sizes = {_text(value): math.log(value) if log else float(value) for value in values}
    else:
        sizes = {text: float(i) for i, text in enumerate(sorted({_text(value) for value in values}))}
    low, high = min(sizes.values()), max(sizes.values())
    return {text: (size - low) / (high - low) if high > low else 0.5 for text, size in sizes.items()}


def _spaced(scale: dict[str, float]) -> list[tuple[str, float]]:
    """Some of a scale's values, so far from each other that their texts can be read."""
    shown: list[tuple[str, float]] = []
    for text, height in sorted(scale.items(), key=lambda item: item[1]):
        if not shown or height - shown[-1][1] >= 0.09:
            shown.append((text, height))
    return shown


def _result(trial: "FrozenTrial") -> float:
    return math.inf if trial.value is None else trial.value


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
