"""What came out of a sweep: as a table for the terminal and as a page."""

import math
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from minigpt.experiments.charts import LOG, chart, curve, short
from minigpt.experiments.pages import render
from minigpt.experiments.sweep import ERROR, RUNS, TOKENS, Sweep, counted
from minigpt.runs import RunFolder
from minigpt.training.metrics import read_metrics

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FEW = 3
"""Trials with a loss that there must be before importance is asked for."""
ABSENT = "-"
"""Text for a hyperparameter that a trial does not have."""


def ranked(study: "Study") -> "list[FrozenTrial]":
    """The trials that count, the best first; those without a result last."""
    return sorted(counted(study), key=lambda trial: (trial.value is None, _result(trial), trial.number))


def rows(trials: "Sequence[FrozenTrial]", keys: Sequence[str]) -> list[list[str]]:
    """A table, its head first: trial, state, loss, setting, minutes, tokens, what went wrong."""
    table = [["trial", "state", "loss", *(key.split(".", 1)[1] for key in keys), "minutes", "tokens", "error"]]
    for trial in trials:
        minutes = f"{trial.duration.total_seconds() / 60:.1f}" if trial.duration else ""
        setting = [short(trial.params.get(key, "")) for key in keys]
        loss = "" if trial.value is None else f"{trial.value:.4f}"
        tokens = f"{trial.user_attrs.get(TOKENS, 0):,}"
        error = trial.user_attrs.get(ERROR, "")
        table.append([str(trial.number), trial.state.name.lower(), loss, *setting, minutes, tokens, error])
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


def sweep_page(sweep: Sweep, study: "Study", best: "Path | None", stopped: str = "") -> str:
    """History, importance, parallel coordinates and losses over time (HTML); why it was `stopped`, if it was."""
    trials = ranked(study)
    charts = [history(trials), *importance(trials), *parallel(sweep, trials), losses(trials)]
    return render(
        "sweep.html.jinja",
        name=sweep.search.study.name,
        stopped=stopped,
        charts=charts,
        rows=rows(trials, list(sweep.search.space)),
        best=best.read_text(encoding="utf-8") if best else "",
    )


def judged(trials: "Sequence[FrozenTrial]") -> "list[FrozenTrial]":
    """Trials with a loss, at their end or when they were stopped."""
    return [trial for trial in trials if trial.state.name in ("COMPLETE", "PRUNED") and trial.value is not None]


def history(trials: "Sequence[FrozenTrial]") -> Markup:
    """Every trial's loss, and the best so far."""
    curves: list[dict[str, Any]] = []
    for state, name, colour in (("PRUNED", "stopped early", "#b9bfce"), ("COMPLETE", "trained to the end", "#3457d5")):
        shown = [trial for trial in judged(trials) if trial.state.name == state]
        places = {"x": [trial.number for trial in shown], "y": [_result(trial) for trial in shown]}
        curves.append({"type": "scatter", "mode": "markers", "name": name, "marker": {"color": colour}, **places})
    ended = sorted((trial.number, _result(trial)) for trial in trials if trial.state.name == "COMPLETE")
    best = list(accumulate((loss for _, loss in ended), min))
    line = {"x": [number for number, _ in ended], "y": best, "line": {"shape": "hv", "color": "#d66014"}}
    curves.append({"type": "scatter", "mode": "lines", "name": "best so far", **line})
    return chart("validation loss of each trial", curves, x_title="trial", yaxis=LOG)


def importance(trials: "Sequence[FrozenTrial]") -> list[Markup]:
    """How much each hyperparameter decides whether a trial is among the best (PED-ANOVA, Watanabe 2023).

    Trials that were stopped count with the loss that they had.
    """
    import optuna

    known = judged(trials)
    if len(known) < FEW:
        return []
    study = optuna.create_study()
    for trial in known:
        study.add_trial(
            optuna.trial.create_trial(params=trial.params, distributions=trial.distributions, value=trial.value)
        )
    shares = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    names, values = list(shares)[::-1], list(shares.values())[::-1]
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    bars = {"type": "bar", "orientation": "h", "x": values, "y": names}
    return [chart("importance for being among the best", [bars], x_title="share", told=told)]


def parallel(sweep: Sweep, trials: "Sequence[FrozenTrial]") -> list[Markup]:
    """Each trial as a line through the values of its hyperparameters to its loss, the best in the strongest colour."""
    known, keys = judged(trials), list(sweep.search.space)
    if not known:
        return []
    rows = [[*(trial.params.get(key, ABSENT) for key in keys), _result(trial)] for trial in known]
    logarithmic = [*(dimension.log for dimension in sweep.search.space.values()), True]
    scales = [_scale(values, log) for values, log in zip(zip(*rows, strict=True), logarithmic, strict=True)]
    lines = []
    for rank, (trial, values) in enumerate(reversed(list(zip(known, rows, strict=True)))):  # the best last, on top
        shade = (rank + 1) / len(known)
        colour, stopped = f"rgba(52,87,213,{0.25 + 0.75 * shade**3:.2f})", trial.state.name == "PRUNED"
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"trial {trial.number}",
                "x": list(range(len(scales))),
                "y": [scale[short(value)] for scale, value in zip(scales, values, strict=True)],
                "text": [f"{key} = {short(value)}" for key, value in zip([*keys, "loss"], values, strict=True)],
                "hoverinfo": "text+name",
                "line": {"color": colour, "width": 1 + 2 * shade**3, "dash": "dot" if stopped else "solid"},
            }
        )
    ticks = [
        {"x": x, "y": height, "text": text, "showarrow": False, "xanchor": "left", "xshift": 6, "font": {"size": 11}}
        for x, scale in enumerate(scales)
        for text, height in _spaced(scale)
    ]
    names = [*(key.replace(".", ".<br>").replace("_", "_<br>") for key in keys), "loss"]  # so that a phone shows them
    axis = {"tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0, "range": [-0.2, len(names) - 0.6]}
    title, hidden = "settings and losses (dotted: stopped early)", {"visible": False, "range": [-0.08, 1.08]}
    told = "what the table below says, as a line for each trial"
    return [chart(title, lines, told=told, xaxis=axis, yaxis=hidden, annotations=ticks, showlegend=False, height=420)]


def losses(trials: "Sequence[FrozenTrial]") -> Markup:
    """Validation losses over time, of all runs."""
    runs = [RunFolder(Path(run)) for trial in trials for run in trial.user_attrs.get(RUNS, {}).values()]
    here = [folder for folder in runs if folder.path.is_dir()]  # others are on the machines that trained them
    curves = [curve(folder.path.name, read_metrics(folder), "validation_loss", "seconds") for folder in here]
    return chart(
        "validation loss over time", curves, x_title="seconds", height=460, showlegend=len(curves) <= 12, yaxis=LOG
    )


def _scale(values: Sequence[Any], log: bool) -> dict[str, float]:
    """Heights from 0 to 1 of values, by their texts: numbers by size, others side by side, what is absent below all."""
    there = [value for value in values if value != ABSENT]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in there):
        sizes = {short(value): math.log(value) if log else float(value) for value in there}
    else:
        sizes = {text: float(i) for i, text in enumerate(sorted({short(value) for value in there}))}
    low, high = min(sizes.values(), default=0.0), max(sizes.values(), default=0.0)
    floor = 0.0 if len(there) == len(values) else 0.15
    heights = {t: floor + (1 - floor) * (s - low) / (high - low) if high > low else 0.5 for t, s in sizes.items()}
    return {ABSENT: 0.0, **heights} if floor else heights


def _spaced(scale: dict[str, float]) -> list[tuple[str, float]]:
    """Some of a scale's values, so far from each other that their texts can be read."""
    shown: list[tuple[str, float]] = []
    for text, height in sorted(scale.items(), key=lambda item: item[1]):
        if not shown or height - shown[-1][1] >= 0.09:
            shown.append((text, height))
    return shown


def _result(trial: "FrozenTrial") -> float:
    return math.inf if trial.value is None else trial.value
