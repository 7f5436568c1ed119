"""How fast minigpt is beside what people use today: both sides in turns, in one process tree, medians and ratios.

python scripts/benchmark.py train --text FILE       time to a validation loss of 1.886 on Tiny Shakespeare
python scripts/benchmark.py sample                  tokens per second beside Transformers' generate
python scripts/benchmark.py prepare --text FILE     text to tokens on disk beside tiktoken's batch encoding
python scripts/benchmark.py step                    a training step beside what the machine's matrix products allow
python scripts/benchmark.py memory                  peak memory beside that of all logits at once
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
CONFIGS = Path(__file__).parents[1] / "configs"
LOSS = 1.886
"""Full validation loss of the classical laptop recipe, in nats per character."""
MEGABYTE = 10**6

TextOption = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A text file (UTF-8).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RecipeArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recipe (YAML).")]
ChangesArgument = Annotated[list[str] | None, typer.Argument(help="Changes to it: key=value.")]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Times that each side is measured.")]


@app.command()
def train(text: TextOption = None, repeats: RepeatsOption = 3, as_json: JsonOption = False) -> None:
    """Seconds from the trainer's first line to the loss of the classical laptop recipe, and that recipe's own."""
    recipes = {"classical": CONFIGS / "baselines/shakespeare_laptop.yaml", "minigpt": CONFIGS / "shakespeare_fast.yaml"}
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in recipes}
    with tempfile.TemporaryDirectory() as place:
        for turn in range(repeats):
            for side, recipe in recipes.items():
                changes = [f"data.directory={place}/data", f"run.directory={place}/{side}{turn}", f"run.seed={turn}"]
                changes += [f"data.source={text.absolute()}"] if text else []
                runs[side].append(_train(recipe, Path(place) / f"{side}{turn}", changes))
    figures = {
        side: {key: median(run[key] for run in done) for key in ("seconds", "loss")} for side, done in runs.items()
    }
    document = {
        "speedup": figures["classical"]["seconds"] / figures["minigpt"]["seconds"],
        "target": 10,
        "loss": LOSS,
        "reached": figures["minigpt"]["loss"] <= LOSS,
        **figures,
        "runs": runs,
    }
    rows = [[side, f"{f['seconds']:.1f}", f"{f['loss']:.4f}"] for side, f in figures.items()]
    reached = "" if document["reached"] else f", but the loss of {LOSS} was not reached"
    _report(document, ["recipe", "seconds", "loss"], rows, f"{document['speedup']:.1f} times as fast{reached}", as_json)


def _train(recipe: Path, folder: Path, changes: list[str]) -> dict[str, float]:
    """Train; the trainer's seconds up to the first evaluation that finds `LOSS` or less, or else to the last one."""
    _minigpt("train", recipe, *changes)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    evaluations = [line for line in lines if "validation_loss" in line]
    reached = next((line for line in evaluations if line["validation_loss"] <= LOSS), evaluations[-1])
    return {"seconds": reached["seconds"], "loss": reached["validation_loss"]}


def _minigpt(*words: object) -> None:
    """Run a command of minigpt; where it fails, say what it said and end."""
    done = subprocess.run([sys.executable, "-m", "minigpt", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        raise typer.Exit(done.returncode)


@app.command()
def prepare(
    text: TextOption = None,
    megabytes: Annotated[int, typer.Option(min=1, help="Size of the text, which FILE is repeated to.")] = 1000,
    vocab_size: Annotated[int, typer.Option(min=257, help="Size of the BPE vocabulary.")] = 4096,
    repeats: RepeatsOption = 3,
    as_json: JsonOption = False,
) -> None:
    """Seconds from a text to BPE tokens on disk, beside tiktoken's own encoding of it on all cores; peak memory."""
    sides: dict[str, Callable[..., None]] = {"tiktoken": _encode_with_tiktoken, "minigpt": _prepare}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        small, large, tokenizer = (Path(place) / name for name in ("small.txt", "large.txt", "tokenizer.json"))
        _write_text(small, text, min(10, megabytes))
        _write_text(large, text or small, megabytes)
        _in_new_process(_learn, small, tokenizer, vocab_size)
        for _ in range(repeats):
            for side, work in sides.items():
                taken, memory[side] = _in_new_process(work, large, tokenizer)
                seconds[side].append(taken)
        memory["minigpt, 10 MB"] = _in_new_process(_prepare, small, tokenizer)[1]
        start_up = median(_start_up(small, Path(place)) for _ in range(repeats + 1))
    medians = {side: median(taken) for side, taken in seconds.items()}
    document = {
        "megabytes": megabytes,
        "ratio": medians["minigpt"] / medians["tiktoken"],
        "target": 1.15,
        "seconds": medians,
        "memory_megabytes": memory,
        "more_memory_than_for_10_megabytes": memory["minigpt"] - memory["minigpt, 10 MB"],
        "start_up_seconds": start_up,
    }
    rows = [[side, f"{medians[side]:.1f}", f"{memory[side]:,.0f}"] for side in sides]
    rows.append(["minigpt, 10 MB", "", f"{memory['minigpt, 10 MB']:,.0f}"])
    last = f"ratio {document['ratio']:.3f}; a run of one step on prepared data takes {start_up:.1f} s"
    _report(document, [f"{megabytes:,} MB", "seconds", "peak MB"], rows, last, as_json)


def _start_up(text: Path, place: Path) -> float:
    """Seconds that a run of one step takes on data that are prepared, imports and last evaluation included."""
    changes = [f"data.source={text}", f"data.directory={place}/data", f"run.directory={place}/run"]
    changes += ["training.max_minutes=null", "training.max_steps=1", "training.evaluation_tokens=1000"]
    changes += ["run.compile=false", "sampling.max_new_tokens=1"]
    begin = time.perf_counter()
    _minigpt("train", CONFIGS / "shakespeare.yaml", "--overwrite", *changes)
    return time.perf_counter() - begin


def _write_text(path: Path, text: Path | None, megabytes: int) -> None:
    """A text of a size, of the lines of `text` or of built-in stories, again and again."""
    if text is None:
        from minigpt.data import stories

        content = "\n".join(stories.generate(5_000, seed=0)).encode()
    else:
        content = text.read_bytes() + b"\n"
    with path.open("wb") as file:
        for _ in range(megabytes * MEGABYTE // len(content) + 1):
            file.write(content)


def _in_new_process(work: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Seconds that `work` takes in a process of its own, and that process's peak memory in MB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, work, *arguments).result()


def _measured(work: Callable[..., None], *arguments: object) -> tuple[float, float]:
    import minigpt.data.tokens  # imports are not what is measured

    assert minigpt.data.tokens
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin, _peak_megabytes()


def _learn(text: Path, tokenizer: Path, vocab_size: int) -> None:
    from minigpt.tokenizers import build_tokenizer

    build_tokenizer("bpe", vocab_size, [text.read_text(encoding="utf-8")]).save(tokenizer)


def _encode_with_tiktoken(text: Path, tokenizer: Path) -> None:
    """What tiktoken does by itself: the documents (here paragraphs of about a megabyte) as one batch of lists."""
    from minigpt.data.files import read_documents
    from minigpt.data.sources import cut
    from minigpt.tokenizers import load_tokenizer
    from minigpt.tokenizers.bpe import BytePairTokenizer

    learned = load_tokenizer(tokenizer)
    assert isinstance(learned, BytePairTokenizer)
    pieces = [piece.text for document in read_documents(text, "text") for piece in cut(document)]
    learned.encoding.encode_ordinary_batch(pieces, num_threads=os.cpu_count() or 1)


def _prepare(text: Path, tokenizer: Path) -> None:
    """What `minigpt train` does with a text before it trains, its tokenizer being there."""
    from minigpt.config.hyperparameters import DataConfig
    from minigpt.data.sources import open_source
    from minigpt.data.tokens import prepare_tokens
    from minigpt.tokenizers import load_tokenizer

    with tempfile.TemporaryDirectory(dir=text.parent) as place:
        prepare_tokens(open_source(DataConfig(source=str(text))), load_tokenizer(tokenizer), 0.1, Path(place))


SHAPES = {
    "4 layers x 128": {"n_layers": 4, "n_heads": 4, "d_model": 128, "vocab_size": 65, "context_length": 256},
    "6 layers x 384": {"n_layers": 6, "n_heads": 6, "d_model": 384, "vocab_size": 65, "context_length": 256},
    "124M parameters": {
        "n_layers": 12, "n_heads": 12, "d_model": 768, "d_ff": 2048, "vocab_size": 50_257, "context_length": 1024,
    },
}  # fmt: skip
TARGETS = {"4 layers x 128": None, "6 layers x 384": 5, "124M parameters": 3}
SEQUENCES = 16


@app.command()
def sample(
    repeats: RepeatsOption = 5,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens that each text gets.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Tokens per second beside Transformers' generate with its cache, on the same weights; one text and sixteen."""
    from minigpt.config.hyperparameters import ModelConfig
    from minigpt.inference.packed import pack, weights_for_writing
    from minigpt.interop.huggingface import to_transformers
    from minigpt.model.gpt import GPT

    bandwidth, engine = _memory_bandwidth(), _engine()
    rows: list[dict[str, Any]] = []
    for name, shape in SHAPES.items():
        model = GPT(ModelConfig(**shape)).eval()
        model.initialise(0)
        dtype = weights_for_writing(model.config, engine.dtype, engine.device)
        packed, reference = pack(model, dtype), to_transformers(model)
        ours: dict[int, list[float]] = {1: [], SEQUENCES: []}
        theirs: dict[int, list[float]] = {1: [], SEQUENCES: []}
        for turn in range(repeats + 1):
            for n_samples in (1, SEQUENCES):
                rates = (
                    _rate(packed, n_samples, new_tokens),
                    _rate_of_transformers(reference, n_samples, new_tokens),
                )
                if turn:  # the first warms up
                    ours[n_samples].append(rates[0])
                    theirs[n_samples].append(rates[1])
        for n_samples in (1, SEQUENCES):
            rate, other = median(ours[n_samples]), median(theirs[n_samples])
            rows.append(
                {
                    "name": name + ("" if n_samples == 1 else f", {n_samples} texts at once"),
                    "weights": str(dtype).removeprefix("torch."),
                    "tokens_per_second": {"minigpt": rate, "transformers": other},
                    "speedup": rate / other,
                    "target": TARGETS[name] if n_samples == 1 else None,
                    "fraction_of_limit": rate / n_samples * _bytes_of(packed) / bandwidth,
                }
            )
            if n_samples > 1:
                rows[-1]["times_one_text"] = rate / median(ours[1])
                rows[-1]["target_times_one_text"] = 8
    document = {"memory_gigabytes_per_second": bandwidth / 1e9, "rows": rows}
    table = [
        [
            row["name"],
            *(f"{rate:,.0f}" for rate in row["tokens_per_second"].values()),
            f"{row['speedup']:.1f}",
            f"{row['times_one_text']:.1f}" if "times_one_text" in row else "",
            f"{row['fraction_of_limit']:.0%}",
        ]
        for row in rows
    ]
    head = ["tokens/s", "minigpt", "Transformers", "speedup", "times one text", "of the limit"]
    _report(document, head, table, f"memory is read at {bandwidth / 1e9:.1f} GB/s", as_json)


def _engine() -> Any:
    import torch

    from minigpt.hardware.device import Engine
    from minigpt.hardware.precision import choose_precision

    device = torch.device("cpu")
    return Engine(device, choose_precision("auto", device))


def _bytes_of(packed: Any) -> int:
    """Bytes of weights that a step reads."""
    from minigpt.inference.native import Int8GPT
    from minigpt.inference.packed import PackedLinear

    if isinstance(packed, Int8GPT):
        return packed.n_bytes
    return sum(part.n_bytes for part in packed.modules() if isinstance(part, PackedLinear))


def _rate(model: Any, n_samples: int, new_tokens: int) -> float:
    """Tokens per second of minigpt, most probable token each time, out of a prompt of 8 tokens."""
    from minigpt.config.hyperparameters import SamplingConfig
    from minigpt.generation.generate import generate

    settings = SamplingConfig(temperature=0, max_new_tokens=new_tokens)
    begin = time.perf_counter()
    steps = sum(1 for _ in generate(model, [1] * 8, settings, end_of_text=-1, seed=0, n_samples=n_samples))
    return n_samples * steps / (time.perf_counter() - begin)


def _rate_of_transformers(model: Any, n_samples: int, new_tokens: int) -> float:
    import torch

    prompt = torch.ones(n_samples, 8, dtype=torch.long)
    begin = time.perf_counter()
    with torch.inference_mode():
        texts = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, min_new_tokens=new_tokens,
            max_new_tokens=new_tokens, pad_token_id=0,
        )  # fmt: skip
    return n_samples * (texts.shape[1] - 8) / (time.perf_counter() - begin)


def _memory_bandwidth() -> float:
    """Bytes per second at which all cores read a matrix that no cache holds, looking for its largest number."""
    import torch

    matrix = torch.ones(8192, 16_384)
    seconds = []
    for _ in range(8):
        begin = time.perf_counter()
        matrix.amax()
        seconds.append(time.perf_counter() - begin)
    return matrix.nbytes / min(seconds)


@app.command()
def step(
    recipe: RecipeArgument = CONFIGS / "shakespeare.yaml",
    changes: ChangesArgument = None,
    repeats: RepeatsOption = 30,
    as_json: JsonOption = False,
) -> None:
    """A compiled training step in steady state beside what the rate of matrix products allows; its parts."""
    import torch

    from minigpt.experiments.plan import training_flops
    from minigpt.hardware.compiler import Compiler
    from minigpt.hardware.precision import matmul_rate

    engine = _engine()
    config, shape = _recipe(recipe, changes)
    compiler = Compiler(shape, config.training.batch_size, engine) if config.run.compile is not False else None
    model, optimizers, loss, tokens = _trainer(config, shape, engine)
    document: dict[str, Any] = {"compiled": compiler is not None and compiler.compile(model, print)}
    seconds: dict[str, list[float]] = {"forward": [], "backward": [], "clipping": [], "muon": [], "adamw": []}
    rates = []
    for turn in range(repeats + 3):
        rate = matmul_rate(engine.device, engine.dtype)
        clock = [time.perf_counter()]
        with engine.autocast():
            nats = loss(tokens, tokens)
        clock.append(time.perf_counter())
        nats.backward()
        clock.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        clock.append(time.perf_counter())
        for optimizer in optimizers.optimizers:
            optimizer.step()
            clock.append(time.perf_counter())
            optimizer.zero_grad()
        if turn >= 3:  # the first ones warm up
            rates.append(rate)
            for part, begin, end in zip(seconds, clock, clock[1:], strict=False):
                seconds[part].append(end - begin)
    parts = {part: median(taken) for part, taken in seconds.items() if taken}
    whole, flops = median(map(sum, zip(*filter(None, seconds.values()), strict=True))), training_flops(shape, model)
    attention = 6 * shape.n_layers * shape.n_heads * shape.d_head * shape.context_length
    document |= {
        "seconds": whole,
        "tokens_per_second": tokens.numel() / whole,
        "matmul_flops_per_second": median(rates),
        "utilisation": flops * tokens.numel() / whole / median(rates),
        "utilisation_target": 0.55,
        "utilisation_without_masked_half": (flops - attention) * tokens.numel() / whole / median(rates),
        "parts": parts,
        "muon_share": parts["muon"] / whole if config.optimizer.name == "muon" else None,
        "muon_share_target": 0.08,
    }
    rows = [[part, f"{1e3 * taken:.1f}", f"{taken / whole:.1%}"] for part, taken in parts.items()]
    rows.append(["step", f"{1e3 * whole:.1f}", ""])
    last = (
        f"{document['tokens_per_second']:,.0f} tokens/s; {document['utilisation']:.1%} of the "
        f"{median(rates) / 1e9:.0f} GFLOP/s of matrix products ({document['utilisation_without_masked_half']:.1%} "
        "if the masked half of attention is not counted)"
    )
    _report(document, ["part", "milliseconds", "share"], rows, last, as_json)


@app.command()
def memory(
    recipe: RecipeArgument = CONFIGS / "shakespeare.yaml",
    changes: ChangesArgument = None,
    vocab_size: Annotated[int, typer.Option(min=2, help="Tokens of the vocabulary.")] = 32_000,
    as_json: JsonOption = False,
) -> None:
    """Peak memory of training, not compiled, beside that of the same model with the logits of a whole batch at once."""
    from minigpt.hardware.memory import memory_by_use
    from minigpt.model.gpt import GPT

    changes = [*(changes or []), f"model.vocab_size={vocab_size}", "run.compile=false"]
    config, shape = _recipe(recipe, changes)
    peaks = {}
    for side, at_once in (("minigpt", False), ("all logits at once", True)):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            peaks[side] = pool.submit(_peak_of_training, recipe, changes, at_once).result()
    expected = memory_by_use(config, shape, GPT(shape).n_parameters())
    document = {"vocab_size": vocab_size, "peak_megabytes": peaks, "expected_bytes": expected}
    rows = [[side, f"{peak:,.0f}"] for side, peak in peaks.items()]
    last = "expected: " + ", ".join(f"{name} {size / MEGABYTE:,.0f} MB" for name, size in expected.items())
    _report(document, [f"vocabulary of {vocab_size:,}", "peak MB beyond the imports"], rows, last, as_json)


def _peak_of_training(recipe: Path, changes: list[str], at_once: bool) -> float:
    import torch

    engine = _engine()
    config, shape = _recipe(recipe, changes)
    before = _peak_megabytes()
    model, optimizers, loss, tokens = _trainer(config, shape, engine)
    for _ in range(2):
        with engine.autocast():
            if at_once:
                nats = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())
            else:
                nats = loss(tokens, tokens)
        nats.backward()
        optimizers.step(1.0)
    return _peak_megabytes() - before


def _peak_megabytes() -> float:
    """Of this process, so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def _recipe(path: Path, changes: list[str] | None) -> tuple[Any, Any]:
    """The config, and the model's with a size of vocabulary."""
    from minigpt.config.recipe import load_recipe
    from minigpt.experiments.plan import expected_vocab_size

    config = load_recipe(path, changes or [])
    return config, config.model.model_copy(update={"vocab_size": expected_vocab_size(config)})


def _trainer(config: Any, shape: Any, engine: Any) -> tuple[Any, Any, Any, Any]:
    """A model, its optimizers, its loss, and a batch of tokens."""
    import torch

    from minigpt.model.gpt import GPT
    from minigpt.optimizers import make_optimizers
    from minigpt.training.loss import TrainingLoss

    model = GPT(shape).train()
    model.initialise(0)
    loss = TrainingLoss(model, engine.dtype, compiled=config.run.compile is not False)
    tokens = torch.randint(shape.vocab_size, (config.training.batch_size, shape.context_length))
    return model, make_optimizers(model, config, engine.dtype), loss, tokens


def _report(document: dict[str, Any], head: list[str], rows: list[list[str]], last: str, as_json: bool) -> None:
    """Print the JSON document, or a Markdown table and a last line."""
    if as_json:
        print(json.dumps(document, indent=1))
        return
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(f"\n{last}")


if __name__ == "__main__":
    app()
