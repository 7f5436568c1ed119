import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RECIPE
from conftest import TINY as TINY_RUN

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.errors import UserError
from minigpt.hardware import compiler, instructions, memory, precision
from minigpt.hardware.compiler import Compiler
from minigpt.hardware.device import Engine, choose_device
from minigpt.model.gpt import GPT, outline

ENGINE = Engine(torch.device("cpu"), "float32")
TINY = ModelConfig(vocab_size=9, context_length=4, n_layers=2, n_heads=1, d_model=4)


def test_without_a_working_compiler_there_is_one_warning_and_the_model_stays_as_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(_function: Any) -> Any:
        raise RuntimeError("no C++ compiler\nsecond line")

    monkeypatch.setattr(compiler.torch, "compile", broken)
    said: list[str] = []
    model = GPT(TINY)
    assert not Compiler(TINY, 2, ENGINE).compile(model, said.append)
    assert said[-1] == "torch.compile does not work here, training goes on without it (no C++ compiler)"
    assert all(line.startswith("compile  takes") for line in said[:-1])
    assert model.blocks[0]._compiled_call_impl is None


def test_with_a_working_compiler_every_part_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.torch, "compile", lambda function, **_: function)
    model, said = GPT(TINY), list[str]()
    assert Compiler(TINY, 2, ENGINE).compile(model, said.append)
    assert all(line.startswith("compile  takes") for line in said)  # where it is still at it
    assert all(part._compiled_call_impl is not None for part in (model.dropout, *model.blocks))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_device_that_is_not_there_is_an_error() -> None:
    with pytest.raises(UserError, match=r"run\.device = cuda"):
        choose_device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def test_what_was_compiled_for_one_processor_is_not_run_on_another(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set()
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    for known in ("avx2", "avx512f"):
        monkeypatch.setattr(compiler, "instructions", lambda known=known: frozenset({known}))
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "set back at the end")
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
        assert Compiler(TINY, 2, ENGINE).compile(GPT(TINY), lambda _: None)
        folders.add(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert len(folders) == 2


@pytest.mark.parametrize(
    ("limits", "block_seconds", "wanted"),
    [
        ({"max_minutes": 10}, 0, True),
        ({"max_minutes": 1}, 0, False),
        ({"max_steps": 3000}, 0.011, True),
        ({"max_steps": 3000}, 0.009, False),
        ({"max_steps": 1500, "gradient_accumulation_steps": 2}, 0.011, True),
        ({"max_minutes": 10, "max_steps": 3000}, 0.009, False),
        ({"max_minutes": 1, "max_steps": 3000}, 0.011, False),
    ],
)
def test_only_trainings_that_earn_it_back_are_compiled(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any], block_seconds: float, wanted: bool
) -> None:
    monkeypatch.setattr(compiler, "compiler_seconds", lambda: 20.0)  # of 120, a quarter of which it saves
    monkeypatch.setattr(compiler.Trial, "seconds", lambda _, n_rows: block_seconds * n_rows / 16)
    config = Config(model={"n_layers": 4}, training={"batch_size": 16, **limits})
    assert compiler.wants_compilation(config, 16, ENGINE) is wanted


def test_a_block_is_tried_with_all_rows_where_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []
    trial = compiler.Trial(TINY, ENGINE)
    monkeypatch.setattr(trial, "step", lambda n_rows: tried.append(n_rows) or sum(range(10**5)))
    monkeypatch.setattr(compiler, "MOMENT", 1e9)
    assert trial.seconds(8) > 0
    assert tried == [1, 1, 8]
    monkeypatch.setattr(compiler, "MOMENT", 0)
    assert trial.seconds(10**6) > trial.seconds(10)
    assert tried[3:] == [1, 1]


def test_a_slow_machine_takes_longer_to_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler.timeit, "repeat", lambda *_, **__: [0.003, 0.001, 0.002])
    quick = compiler.compiler_seconds()
    monkeypatch.setattr(compiler.timeit, "repeat", lambda *_, **__: [0.003])
    assert compiler.compiler_seconds() == pytest.approx(3 * quick)
    assert 10 < quick < 100


def test_processes_share_the_memory_of_a_computer_but_not_that_of_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_of", lambda _: 10**8)
    config = Config(training={"max_steps": 1, "batch_size": 1024}, run={"compile": False})
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for device, n_processes in ((cpu, 1), (cpu, 1024), (gpu, 1)):
        with pytest.raises(UserError, match="batch_size"):
            memory.check_memory(config, config.model.model_copy(update={"vocab_size": 9}), device, n_processes)
    memory.check_memory(config, config.model.model_copy(update={"vocab_size": 9}), gpu, 1024)


@pytest.mark.parametrize(("name", "n_bytes"), [("muon", 4), ("adamw", 8)])
def test_only_a_model_that_surely_does_not_fit_is_refused(
    name: str, n_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cpu, n = Config(training={"max_steps": 1}, optimizer={"name": name}), torch.device("cpu"), 10**6
    told = memory.memory_by_use(config, TINY, outline(TINY).n_parameters(), config.training.batch_size, cpu)
    monkeypatch.setattr(memory, "memory_of", lambda _: sum(told.values()) * 2 // 3)
    memory.check_memory(config, TINY, cpu)
    monkeypatch.setattr(memory, "memory_of", lambda _: sum(told.values()) // 3)
    with pytest.raises(UserError, match="batch_size"):
        memory.check_memory(config, TINY, cpu)
    assert memory.memory_by_use(config, TINY, n, 1, cpu)["optimizer"] == n_bytes * n


@pytest.mark.parametrize(
    ("known", "wanted", "measured"),
    [
        ("amx_bf16", "bfloat16", False),
        ("avx512_bf16", "bfloat16", False),
        ("avx2", "float32", False),
        ("bf16", "bfloat16", True),
    ],
)
def test_the_precision_is_measured_only_where_nothing_tells(
    known: str, wanted: str, measured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []
    for module in (instructions, precision):
        monkeypatch.setattr(module, "instructions", lambda: frozenset({known}))
    monkeypatch.setattr(precision, "matmul_rate", lambda _, dtype: rates.append(dtype) or 4 / dtype.itemsize)
    assert precision.choose_precision("auto", torch.device("cpu")) == wanted
    assert bool(rates) == measured


def test_garbage_is_collected_again_once_work_begins(tmp_path: Path) -> None:
    program = (
        "import gc, sys\n"
        "from minigpt.cli import main\n"
        "from minigpt.training.trainer import Trainer\n"
        "before, train = [], Trainer.train\n"
        "Trainer.train = lambda self, began: before.append(gc.isenabled()) or train(self, began)\n"
        "gc.callbacks.append(lambda phase, _: before or (phase == 'start' and sys.exit('collected too soon')))\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, before)\n"
    )
    words = ["train", str(RECIPE), *TINY_RUN, "run.name=collected"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.endswith("0 [True]\n"), done.stdout + done.stderr


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back so eagerly")
def test_freed_memory_is_not_fetched_anew() -> None:
    program = (
        "import resource, torch\n"
        "from minigpt.hardware.device import choose_device\n"
        "def page_faults():\n"
        "    for _ in range(20): [torch.ones(2**22) for _ in range(4)]\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "choose_device('cpu')\n"
        "print(-page_faults() + page_faults())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    n_pages = 4 * 4 * 2**22 / 4096
    assert int(done.stdout) < n_pages, "more than what one of 20 rounds touches"
