"""From a recipe to a run folder: everything that comes before the training loop's first step."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
import torch._dynamo  # torch.optim imports it at its first use, which takes a second: not on the training's clock

from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import check_chosen, load_recipe, save_recipe
from minigpt.data.batches import begins_with_documents
from minigpt.data.sources import Source, absolute, open_source
from minigpt.errors import UserError, typed
from minigpt.evaluation.loss import Evaluation
from minigpt.hardware.compiler import Compiler, wants_compilation
from minigpt.hardware.device import Engine
from minigpt.hardware.memory import check_memory, collect_garbage
from minigpt.hardware.precision import choose_engine
from minigpt.model.gpt import GPT
from minigpt.runs import (
    STATE,
    WEIGHTS,
    RunFolder,
    checkpoint_step,
    kept_steps,
    load_config,
    open_folder,
    own_tokenizer,
)
from minigpt.storage.lock import locked
from minigpt.storage.writing import write_whole
from minigpt.tokenizers import check_kind
from minigpt.training.budget import tokens_per_step
from minigpt.training.continuation import check_fixed, check_origins, origins
from minigpt.training.corpus import Corpus, prepare_corpus
from minigpt.training.distributed import Processes, join_processes
from minigpt.training.hooks import NO_HOOKS, Hooks
from minigpt.training.initial import Initial, find_initial
from minigpt.training.metrics import check_tensorboard, read_metrics
from minigpt.training.place import check_place, in_place, new_place
from minigpt.training.trainer import Trainer

NO_PLACE = nullcontext()


def start(config: Config, overwrite: bool = False, hooks: Hooks = NO_HOOKS) -> tuple[RunFolder, Evaluation]:
    """Train a new run; UserError where its folder exists already, unless `overwrite`."""
    initial = find_initial(config)
    if initial:
        config = initial.recipe
    elif "tokenizer.kind" not in config.auto:
        check_kind(config.tokenizer.kind)
    folder = RunFolder(Path(config.run.directory or f"runs/{config.run.name}"))
    if initial and folder.path.resolve() == initial.folder.path.resolve():
        raise UserError(f"{folder.path}: is the run of training.init_from; choose another run.name or run.directory")
    with join_processes() as processes:
        if processes.first:
            check_place(folder, overwrite)
        source = None
        if config.auto:
            assert hooks.choose is not None
            source = open_source(config.data) if processes.first else None
            config = processes.share(source and hooks.choose(config, source, processes.world_size))
        return folder, _train(config, folder, processes, hooks, new_place(folder, overwrite), source, initial)


def resume(
    path: Path, changes: list[str], hooks: Hooks = NO_HOOKS, checkpoint: str = "last"
) -> tuple[RunFolder, Evaluation]:
    """Go on with a run from a checkpoint; `changes` may not touch what the model is made of and learns from.

    A run that has none yet begins.
    """
    folder = open_folder(path)
    before, config = load_config(folder), load_recipe(folder.config, changes)
    if before.data.source is None:
        raise UserError(
            f"{folder.path}: was imported, and there is no training to go on with; train it on a text with: "
            f"minigpt train configs/finetune.yaml {typed(Path(f'training.init_from={folder.path}'))} data.source=TEXT"
        )
    check_chosen(before, folder.config)
    check_chosen(config, Path("command line"))
    check_fixed(before, config)
    with join_processes() as processes, locked(folder.path) if processes.first else NO_PLACE:
        begun = kept_steps(folder) or read_metrics(folder)
        step = checkpoint_step(folder, checkpoint, STATE) if begun or checkpoint != "last" else None
        if step is not None:
            own_tokenizer(folder, config, step, WEIGHTS, STATE)
        return folder, _train(
            config, folder, processes, hooks, initial=find_initial(config) if step is None else None, step=step
        )


def _train(
    config: Config,
    folder: RunFolder,
    processes: Processes,
    hooks: Hooks,
    place: AbstractContextManager[None] = NO_PLACE,
    source: Source | None = None,
    initial: Initial | None = None,
    step: int | None = None,
) -> Evaluation:
    rows, surplus = divmod(config.training.batch_size, processes.world_size)
    if surplus:
        raise UserError(
            f"training.batch_size = {config.training.batch_size}: must be divisible by the {processes.world_size} "
            f"processes; set {config.training.batch_size - surplus or processes.world_size}"
        )
    if config.run.tensorboard:
        check_tensorboard()
    say = _say if processes.first else _keep_quiet
    engine = choose_engine(config.run, processes.local_rank)
    at_least = config.model.model_copy(update={"vocab_size": config.model.vocab_size or 2})
    check_memory(config, at_least, engine.device, processes.world_size)
    compiled = processes.share(processes.first and wants_compilation(config, rows, engine))
    compiler = Compiler(config.model, rows, engine) if compiled else None
    known = initial.folder if initial else folder if step is not None else None
    corpus = prepare_corpus(config, processes, source, known.tokenizer if known else None)
    began = time.perf_counter()
    config = _found_anywhere(_with_possible_prompt(config, corpus, say))
    vocab_size = corpus.tokenizer.vocab_size
    if config.model.vocab_size not in (None, vocab_size):
        raise UserError(f"model.vocab_size = {config.model.vocab_size}: the tokenizer has {vocab_size}; leave it out")
    shape = config.model.model_copy(update={"vocab_size": vocab_size})
    check_memory(config, shape, engine.device, processes.world_size)
    if step is not None:
        check_origins(config, folder, step, origins(config, corpus, processes))
    model = GPT(shape)
    model.initialise(config.run.seed)
    if initial:
        initial.load(model)
        say(f"from     {initial.describe()}")
    model.to(engine.device).train()
    compiled = compiler is not None and compiler.compile(model, say)
    config = config.model_copy(
        update={
            "run": config.run.model_copy(update={"precision": engine.precision, "compile": compiled}),
            "model": model.config,
        }
    )
    trainer = Trainer(config, folder, corpus, model, engine, processes, step, hooks)
    with place if processes.first else NO_PLACE:
        if processes.first:
            with in_place(folder):
                if step is not None:
                    trainer.keeper.begin(trainer.progress)
                save_recipe(config, folder.config)
                write_whole(folder.tokenizer, corpus.tokenizer.to_json())
            if hooks.on_start:
                hooks.on_start(folder)
            say(describe(config, folder, corpus, model, engine))
        collect_garbage()
        evaluation = trainer.train(began)
        if processes.first and hooks.on_end:
            hooks.on_end(folder, corpus)
        return evaluation


def _found_anywhere(config: Config) -> Config:
    """The config with the whole path of a text on this machine, so that the run finds it from every folder."""
    assert config.data.source is not None
    source = absolute(config.data.source)
    try:
        source.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"data.source = {config.data.source}: lies in a folder whose name is no UTF-8 ({source!a}); rename it"
        ) from None
    return config.model_copy(update={"data": config.data.model_copy(update={"source": source})})


def _with_possible_prompt(config: Config, corpus: Corpus, say: Callable[[str], None]) -> Config:
    """The config with a prompt that the model can read: of characters that it learns, and begun as it learns it."""
    sampling = config.sampling
    if sampling.begin_document == "auto":
        begin = begins_with_documents(corpus.train, config.model.context_length, corpus.tokenizer.begin_of_text)
        sampling = sampling.model_copy(update={"begin_document": begin})
    try:
        corpus.tokenizer.encode(sampling.prompt)
    except UserError as error:
        say(f"warning: sampling.prompt is left out: {error}")
        sampling = sampling.model_copy(update={"prompt": ""})
    return config.model_copy(update={"sampling": sampling})


def describe(config: Config, folder: RunFolder, corpus: Corpus, model: GPT, engine: Engine) -> str:
    """What is about to happen, for people."""
    shape, training = config.model, config.training
    steps = f"{training.max_steps:,} steps" if training.max_steps else ""
    minutes = f"{training.max_minutes:g} minutes" if training.max_minutes else ""
    length = " or ".join(filter(None, (steps, minutes)))
    return "\n".join(
        (
            f"run      {folder.path}",
            f"data     {config.data.source}: {len(corpus.train):,} tokens to train on, "
            f"{len(corpus.validation):,} to validate on ({config.tokenizer.kind}, {shape.vocab_size:,} tokens)",
            f"model    {model.n_parameters():,} parameters: {shape.n_layers} layers, {shape.n_heads} heads, "
            f"width {shape.d_model}, context {shape.context_length}",
            f"machine  {engine.describe()}{', compiled' if config.run.compile else ''}, torch {torch.__version__}",
            f"length   {length}, {tokens_per_step(config):,} tokens a step",
        )
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


def _keep_quiet(_text: str) -> None:
    """What the first of several processes says."""
