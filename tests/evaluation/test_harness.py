"""Benchmarks on a run give what lm-eval's own class gives for the same model in Transformers."""

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
import yaml
from conftest import minigpt, random_model

from minigpt.config.hyperparameters import Config, DataConfig, SamplingConfig
from minigpt.errors import UserError
from minigpt.runs import Run, RunFolder
from minigpt.tokenizers.byte import ByteTokenizer

pytestmark = [
    pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is missing: pip install 'minigpt[evaluation]'"),
    pytest.mark.filterwarnings("ignore"),
]

CASES = [
    {"question": "Alice gave Bob", "choices": [" her", " his", " the book"], "answer": 0},
    {"question": "Ömer", "choices": [" sat on a", " saw", " was"], "answer": 2},
    {
        "question": "A question that is longer than all that the model sees",
        "choices": [" at", " once", "."],
        "answer": 1,
    },
]
SHARED: dict[str, Any] = {"dataset_path": "json", "test_split": "test", "doc_to_text": "question"}
TASKS: dict[str, dict[str, Any]] = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_choice": "choices",
        "doc_to_target": "answer",
        "target_delimiter": "",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "answer": {
        "output_type": "generate_until",
        "doc_to_target": "{{choices[answer]}}",
        "generation_kwargs": {"until": ["."], "max_gen_toks": 8},
        "metric_list": [{"metric": "exact_match"}],
    },
    "text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "question",
        "metric_list": [{"metric": "bits_per_byte"}, {"metric": "word_perplexity"}],
    },
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with task files and their data."""
    import datasets

    folder = tmp_path_factory.mktemp("tasks")
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in CASES))
    for name, task in TASKS.items():
        data = {"dataset_kwargs": {"data_files": {"test": str(folder / "cases.jsonl")}}}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"task": name, **SHARED, **data, **task}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
        yield folder


def random_run(begins_documents: bool) -> Run:
    """A run that writes visible ASCII."""
    model = random_model(vocab_size=257, context_length=24, tie_embeddings=False)
    visible = torch.arange(257)[:, None].clamp(32, 126) == torch.arange(257)[:, None]
    model.lm_head.weight.data = (model.lm_head.weight.data - model.lm_head.weight.mean()) * visible
    config = Config(
        data=DataConfig(source=None), model=model.config, sampling=SamplingConfig(begin_document=begins_documents)
    )
    return Run(RunFolder(Path("runs/random")), config, ByteTokenizer(), model, 1)


def in_transformers(run: Run, folder: Path) -> Any:
    """The same model as lm-eval's own class has it, whose import of accelerate only other models need."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from minigpt.interop.export import export_run

    with pytest.MonkeyPatch.context() as patch:
        if find_spec("accelerate") is None:
            for name in ("accelerate", "accelerate.utils"):
                patch.setitem(sys.modules, name, MagicMock())
        from lm_eval.models.huggingface import HFLM

    export_run(run, folder)
    made = AutoModelForCausalLM.from_pretrained(folder)
    made.generation_config.max_new_tokens = None  # would win over the length that lm-eval asks for
    return HFLM(made, tokenizer=AutoTokenizer.from_pretrained(folder), batch_size=1)


def asked(kind: str, *questions: tuple[Any, ...]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, question, number) for number, question in enumerate(questions)]


@pytest.mark.parametrize("begins_documents", [False, True])
def test_a_run_answers_as_the_same_model_in_transformers(begins_documents: bool, tmp_path: Path) -> None:
    from minigpt.evaluation.harness import HarnessModel

    run = random_run(begins_documents)
    ours, theirs = HarnessModel(run), in_transformers(run, tmp_path / "exported")
    likely = ours.generate_until(asked("generate_until", ("Alice", {"max_gen_toks": 4})))[0]
    assert likely.isascii()
    pairs = [(case["question"], choice) for case in CASES for choice in case["choices"]]
    pairs += [("", "Alice gave"), ("ends in a space ", "word"), ("Alice", likely)]
    found, expected = (model.loglikelihood(asked("loglikelihood", *pairs)) for model in (ours, theirs))
    assert [score for score, _ in found] == pytest.approx([score for score, _ in expected], rel=1e-4)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert found[-1][1]
    prompts = [case["question"] for case in CASES] * 2
    settings = [{"until": [stop], "max_gen_toks": 8} for stop in ("\n\n", likely[1]) for _ in CASES]
    questions = asked("generate_until", *zip(prompts, settings, strict=True))
    assert ours.generate_until(questions) == theirs.generate_until(questions)
    if not begins_documents:  # else theirs asks as well how likely begin-of-text is after begin-of-text
        texts = asked("loglikelihood_rolling", *((case["question"],) for case in CASES))
        assert ours.loglikelihood_rolling(texts) == pytest.approx(theirs.loglikelihood_rolling(texts), rel=1e-4)


def test_task_files_give_the_same_scores(tasks: Path, tmp_path: Path) -> None:
    import lm_eval
    from lm_eval.tasks import TaskManager

    from minigpt.evaluation.harness import HarnessModel, as_table, run_tasks

    run = random_run(begins_documents=False)
    names = [str(tasks / f"{name}.yaml") for name in TASKS]
    ours = run_tasks(HarnessModel(run), names)
    manager = TaskManager(include_defaults=False)
    theirs = lm_eval.simple_evaluate(
        in_transformers(run, tmp_path / "exported"), tasks=names, task_manager=manager, bootstrap_iters=1000
    )
    assert ours["results"].keys() == TASKS.keys()
    for name, scores in theirs["results"].items():
        numbers = {key: score for key, score in scores.items() if isinstance(score, float)}
        assert {key: ours["results"][name][key] for key in numbers} == pytest.approx(numbers, rel=1e-4)
    lines = as_table(ours).splitlines()
    assert lines[0].split() == ["task", "cases", "shots", "metric", "score", "error"]
    assert lines[1].split()[:4] == ["choice", "3", "0", "acc"]
    assert float(lines[1].split()[4]) == pytest.approx(ours["results"]["choice"]["acc,none"], abs=1e-4)


def test_answers_go_on_where_the_context_is_full() -> None:
    from minigpt.evaluation.harness import HarnessModel

    (answer,) = HarnessModel(random_run(False)).generate_until(
        asked("generate_until", ("x" * 40, {"max_gen_toks": 60}))
    )
    assert len(answer) > 24


def test_a_setting_that_minigpt_has_not_is_named() -> None:
    from minigpt.evaluation.harness import HarnessModel

    model = HarnessModel(random_run(False))
    with pytest.raises(UserError, match="num_beams = 4: minigpt has no such setting"):
        model.generate_until(asked("generate_until", ("Alice", {"num_beams": 4})))
    with pytest.raises(UserError, match="25 tokens of its own, and must have from 1 to the model's context, 24"):
        model.loglikelihood(asked("loglikelihood", ("Alice", "x" * 25)))


def test_the_command_prints_scores_for_people_and_programs(run: Path, tasks: Path) -> None:
    done = minigpt("evaluate", run, "--tasks", tasks / "choice.yaml", cwd=tasks)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == ["task", "choice", "choice"]
    done = minigpt("evaluate", run, "--tasks", f"{tasks / 'choice.yaml'},{tasks / 'text.yaml'}", "--json", cwd=tasks)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["results"].keys() == {"choice", "text"}
    assert (document["run"], document["step"]) == (str(run), 12)


MISTAKES: dict[str, tuple[dict[str, Any] | None, str]] = {
    "no file": (None, "mistake.yaml: no such task file"),
    "no data": ({"dataset_kwargs": {"data_files": {"test": "none.jsonl"}}}, "none.jsonl"),
    "no field": ({"doc_to_text": "{{qestion}}"}, "qestion"),
    "no kind": ({"output_type": "multiple_choise"}, "multiple_choise"),
    "no choices": ({"doc_to_choice": None}, "mistake.yaml: lm-eval cannot make a task of it"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_wrong_task_gets_one_error_line(name: str, run: Path, tasks: Path) -> None:
    changes, expected = MISTAKES[name]
    path = tasks / "mistake.yaml"
    path.unlink(missing_ok=True)
    if changes is not None:
        path.write_text(yaml.safe_dump(yaml.safe_load((tasks / "choice.yaml").read_text()) | {"task": "m"} | changes))
    done = minigpt("evaluate", run, "--tasks", path, cwd=tasks)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in error


def test_a_missing_harness_is_told_with_its_remedy(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "minigpt.evaluation.harness", raising=False)
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    done = minigpt("evaluate", run, "--tasks", "hellaswag", cwd=run)
    assert (done.returncode, done.stdout) == (2, "")
    assert "command line: --tasks needs lm_eval; pip install 'minigpt[evaluation]'" in done.stderr
