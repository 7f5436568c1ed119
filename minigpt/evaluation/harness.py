"""Any benchmark of EleutherAI's lm-evaluation-harness (lm-eval) on one's own model.

    import minigpt
    from minigpt.evaluation.harness import HarnessModel, run_tasks
    print(run_tasks(HarnessModel(minigpt.load("runs/stories").loaded), ["task.yaml"])["results"])

`lm_eval.simple_evaluate(model=HarnessModel(...), tasks=...)` works as well.
"""

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import lm_eval  # type: ignore[import-untyped]
import torch
from lm_eval.api.instance import Instance  # type: ignore[import-untyped]
from lm_eval.api.model import TemplateLM  # type: ignore[import-untyped]
from lm_eval.models.utils import normalize_gen_kwargs  # type: ignore[import-untyped]
from lm_eval.tasks import TaskManager  # type: ignore[import-untyped]
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # type: ignore[import-untyped]
from pydantic import ValidationError

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.data.batches import IGNORED
from minigpt.data.progress import bar
from minigpt.errors import UserError, nearest, nearest_path
from minigpt.evaluation.loss import TOKENS_AT_ONCE
from minigpt.generation.generate import generate
from minigpt.generation.text import shown
from minigpt.hardware.memory import collect_garbage, tokens_at_once
from minigpt.runs import Run

MAX_NEW_TOKENS = 256
"""Tokens that an answer may have where its task does not say; lm-eval's own number."""
RESAMPLES = 1000
"""Draws from the scores by which lm-eval estimates the error of what is no mean."""

Scored = tuple[tuple[str, str] | None, list[int], list[int]]
"""Context and continuation, as texts (of no use in a rolling window) and as ids."""


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """A run as lm-eval asks it, in float32.

    Texts begin with begin-of-text where the run learned that documents do so, and an empty context is that token.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.run = run
        self.context_length = run.config.model.context_length
        self._device = run.model.device

    @property
    def eot_token_id(self) -> int:
        return self.run.tokenizer.end_of_text

    @property
    def prefix_token_id(self) -> int:
        return self.run.tokenizer.begin_of_text

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_options: object) -> list[int]:
        """The ids of a text; without special tokens where that is asked for."""
        begins = add_special_tokens is not False and self.run.config.sampling.begin_document is True
        ids: list[int] = self.run.tokenizer.encode(string).tolist()
        return [self.prefix_token_id, *ids] if begins else ids

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Nats of whole texts, each by itself, in windows of the context of which each predicts new tokens."""
        windows: list[Scored] = []
        texts: list[int] = []
        for number, (text,) in enumerate(request.args for request in requests):
            ids = self.tok_encode(text, add_special_tokens=False)
            for window in get_rolling_token_windows(ids, self.prefix_token_id, self.context_length, context_len=1):
                windows.append((None, *make_disjoint_window(window)))
                texts.append(number)
        sums = [0.0] * len(requests)
        for number, (score, _) in zip(texts, self._loglikelihood_tokens(windows, disable_tqdm), strict=True):
            sums[number] += score
        return sums

    def _loglikelihood_tokens(
        self, requests: Sequence[Scored], disable_tqdm: bool = False, **_options: object
    ) -> list[tuple[float, bool]]:
        """Log-probability of each continuation, and whether the model would write it: of each token the likeliest.

        Of what is longer than the context, the end counts.
        """
        for texts, _, continuation in requests:
            if not 0 < len(continuation) <= self.context_length:
                raise UserError(
                    f"{self.run.folder.path}: the continuation {texts and texts[1]!r} has {len(continuation)} tokens "
                    f"of its own, and must have from 1 to the model's context, {self.context_length}; change the task"
                )
        scores = [(0.0, False)] * len(requests)
        lengths = [
            min(len(context) + len(continuation) - 1, self.context_length) for _, context, continuation in requests
        ]
        longest_first = sorted(range(len(requests)), key=lambda number: -lengths[number])
        with bar(desc="scoring", total=len(requests), disable=disable_tqdm, delay=1.0, leave=False) as shown:
            while longest_first:
                n_rows = max(1, TOKENS_AT_ONCE // lengths[longest_first[0]])
                batch, longest_first = longest_first[:n_rows], longest_first[n_rows:]
                for number, score in zip(batch, self._score([requests[number] for number in batch]), strict=True):
                    scores[number] = score
                shown.update(len(batch))
        return scores

    @torch.inference_mode()
    def _score(self, requests: Sequence[Scored]) -> list[tuple[float, bool]]:
        """The same for some requests in one batch, the shorter ones filled up at their end, which nothing looks at."""
        rows = [(context + continuation)[-self.context_length - 1 :] for _, context, continuation in requests]
        lengths = [len(continuation) for _, _, continuation in requests]
        inputs = torch.zeros(len(rows), max(map(len, rows)) - 1, dtype=torch.long)  # B T
        targets = torch.full_like(inputs, IGNORED)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            inputs[i, : len(row) - 1] = torch.tensor(row[:-1])
            targets[i, len(row) - 1 - length : len(row) - 1] = torch.tensor(row[-length:])
        model = self.run.model
        hidden = model.hidden(inputs.to(self._device))[(targets != IGNORED).to(self._device)]  # N D
        wanted = targets[targets != IGNORED].to(self._device)
        scores, likeliest = [], []
        at_once = tokens_at_once(model.lm_head.out_features, model.config.d_model, self._device)
        for some, their in zip(hidden.split(at_once), wanted.split(at_once), strict=True):
            log_probabilities = model.lm_head(some).float().log_softmax(-1)
            scores.append(log_probabilities.gather(1, their[:, None])[:, 0])
            likeliest.append(log_probabilities.argmax(-1) == their)
        parts = zip(torch.cat(scores).split(lengths), torch.cat(likeliest).split(lengths), strict=True)
        return [(score.sum(dtype=torch.float64).item(), bool(greedy.all())) for score, greedy in parts]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, up to the first of its task's stop texts or the end of the text.

        Of a context that leaves too little room for the answer, the end counts.
        """
        alike: dict[tuple[int, SamplingConfig, tuple[str, ...]], list[tuple[int, list[int]]]] = defaultdict(list)
        for number, (context, asked) in enumerate(request.args for request in requests):
            config, stops = self._settings(asked)
            room = self.context_length - config.max_new_tokens
            ids = self.tok_encode(context)[-room if room > 0 else -self.context_length :] or [self.prefix_token_id]
            alike[len(ids), config, stops].append((number, ids))
        answers = [""] * len(requests)
        with bar(desc="writing", total=len(requests), disable=disable_tqdm, delay=1.0, leave=False) as shown:
            for (length, config, stops), prompts in alike.items():
                n_rows = max(1, TOKENS_AT_ONCE // min(length + config.max_new_tokens, self.context_length))
                for first in range(0, len(prompts), n_rows):
                    batch = prompts[first : first + n_rows]
                    written = self._write([ids for _, ids in batch], config, stops)
                    for (number, _), answer in zip(batch, written, strict=True):
                        answers[number] = answer
                    shown.update(len(batch))
        return answers

    def _settings(self, settings: Mapping[str, Any]) -> tuple[SamplingConfig, tuple[str, ...]]:
        """A task's settings of its answers, and its stop texts; greedy where it does not say otherwise."""
        asked: dict[str, Any] = {"temperature": 0.0} | dict(normalize_gen_kwargs(dict(settings), MAX_NEW_TOKENS))
        stops = tuple(stop for stop in asked.pop("until", []) if stop)
        del asked["do_sample"]  # the temperature says it
        asked |= {"max_new_tokens": asked.pop("max_gen_toks"), "top_k": asked.get("top_k") or None}
        try:
            return SamplingConfig(**asked), stops
        except ValidationError as error:
            first = error.errors()[0]
            reason = "minigpt has no such setting" if first["type"] == "extra_forbidden" else first["msg"]
            place = f"generation_kwargs: {first['loc'][0]} = {first['input']}"
            raise UserError(f"{place}: {reason}; change it in the task") from None

    def _write(self, prompts: Sequence[list[int]], config: SamplingConfig, stops: Sequence[str]) -> list[str]:
        """The answers to prompts of one length."""
        tokenizer, seed = self.run.tokenizer, self.run.config.run.seed
        steps = generate(self.run.model, torch.tensor(prompts), config, end_of_text=tokenizer.end_of_text, seed=seed)
        answers = [""] * len(prompts)
        tokens = (step.token_ids.tolist() for step in steps)
        for row, text in shown(tokens, tokenizer.token_bytes, stops, len(prompts)):
            answers[row] += text
        return answers


def run_tasks(model: HarnessModel, tasks: Sequence[str]) -> dict[str, Any]:
    """lm-eval's results for task files (YAML) and the names of its own tasks, whose data may come from the network.

    A task file can run Python code: take only those that you trust. UserError where one is not there or wrong.
    """
    collect_garbage()
    files = {task for task in tasks if Path(task).suffix in (".yaml", ".yml")}
    manager = TaskManager(include_defaults=not files.issuperset(tasks))  # its own are thousands of files
    found: list[Any] = []
    for task in tasks:
        path = Path(task)
        if task in files and not path.is_file():
            raise UserError(f"{path}: no such task file{nearest_path(path, path.parent.glob('*.y*ml'))}")
        if task not in files and task not in manager.all_tasks:
            near = nearest(task, manager.all_tasks) or "; name a task file (.yaml), or see lm-eval ls tasks"
            raise UserError(f"command line: --tasks {task}: lm-eval has no such task{near}")
        try:
            loaded = manager.load(task)
            for one in loaded["tasks"].values():
                one.build_all_requests(limit=1)
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(f"{task}: lm-eval cannot make a task of it ({reason}); mend it there") from None
        groups = list(loaded["groups"].values())
        found += groups[:1] or loaded["tasks"].values()  # a group holds its tasks and the groups inside it
    with redirect_stdout(sys.stderr):
        results: dict[str, Any] = lm_eval.simple_evaluate(
            model, tasks=found, task_manager=manager, bootstrap_iters=RESAMPLES, log_samples=False
        )
    return results


def as_table(results: Mapping[str, Any]) -> str:
    """The scores of tasks, and of groups of them, one a line, for people."""
    rows = [("task", "cases", "shots", "metric", "score", "error")]
    for name, scores in (results["results"] | results.get("groups", {})).items():
        cases, shots = results["n-samples"].get(name, {}).get("effective", ""), results["n-shot"].get(name, "")
        for key, score in scores.items():
            metric, comma, kind = key.partition(",")
            if comma and not metric.endswith("_stderr"):
                numbers = (score, scores.get(f"{metric}_stderr,{kind}"))
                shown = (f"{number:.4f}" if isinstance(number, int | float) else "" for number in numbers)
                rows.append((name, str(cases), str(shots), metric if kind == "none" else f"{metric} ({kind})", *shown))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (str.ljust, str.rjust, str.rjust, str.ljust, str.rjust, str.rjust)
    return "\n".join(
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True)).rstrip()
        for row in rows
    )
