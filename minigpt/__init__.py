"""minigpt: a small GPT that you train, look inside and take with you.

The Python interface, for notebooks and scripts: `train`, `resume` and `load` give a `Run`, which writes, shows its
tokens, logits and inside, and is measured and exported. Nothing heavy is imported before it is used.
"""

import html
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from minigpt.errors import UserError, told_as_arguments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from minigpt import runs
    from minigpt.config.hyperparameters import Config
    from minigpt.inspection.trace import Trace
    from minigpt.training.hooks import Hooks

PathName = str | PathLike[str]

__version__ = "0.1.0"
__all__ = ["Page", "Run", "Token", "UserError", "load", "resume", "train"]

warnings.filterwarnings("ignore", message="IProgress not found")  # then tqdm draws its bars as text, also in notebooks


def train(recipe: PathName | Mapping[str, Any], *, overwrite: bool = False, **changes: Any) -> "Run":
    """Train a new run by a recipe, and give its best checkpoint.

    A recipe is a YAML file or a dict of sections. Changes are sections, `model={"n_layers": 2}`, or single keys,
    `**{"model.n_layers": 2}`. Without `overwrite`, a run that exists stays. UserError names the key and value that are
    wrong. An interrupt saves the run, for `resume`, and raises KeyboardInterrupt.
    """
    from minigpt.config.hyperparameters import Config
    from minigpt.config.recipe import make_config, read_sections
    from minigpt.config.yaml_file import read_yaml

    values = read_sections(changes, place := "train()")
    if isinstance(recipe, Mapping):
        config = make_config({}, Path(place), read_sections(recipe, place) | values, place)
    else:
        config = make_config(read_yaml(Path(recipe), Config), Path(recipe), values, place)
    from minigpt.training import run

    with _training() as hooks:
        folder, _ = run.start(config, overwrite, hooks)
    return load(folder.path, device=config.run.device)


def resume(path: PathName, checkpoint: str | int = "last") -> "Run":
    """Go on with a run that was interrupted: from its last checkpoint, or from `best` or a step whose state was kept.

    With `training.max_steps` it ends with the weights that it would have had without the interruption.
    """
    from minigpt.runs import load_config
    from minigpt.training import run

    with _training() as hooks:
        folder, _ = run.resume(Path(path), [], hooks, str(checkpoint))
    return load(folder.path, device=load_config(folder).run.device)


@contextmanager
def _training() -> "Iterator[Hooks]":
    """Write the run's report as training goes on; an interrupt that was saved ends a notebook's cell as any other."""
    from minigpt.experiments.report import reported
    from minigpt.inspection.habits import keep_habits
    from minigpt.training.interruption import Interrupted

    try:
        with reported(lambda run, texts: keep_habits(load(run.path, "last").loaded, texts.validation)) as hooks:
            yield hooks
    except Interrupted as error:
        raise KeyboardInterrupt(str(error).replace("--resume", "minigpt.resume")) from None


def load(path: PathName, checkpoint: str | int = "best", device: str = "auto") -> "Run":
    """A run from its folder: its best checkpoint, or `last` or a step that was kept, on a device.

    Devices are auto, cpu, mps, cuda and cuda:N. UserError where there is no such run, checkpoint or device.
    """
    from minigpt.hardware.device import choose_device
    from minigpt.runs import load_run

    with told_as_arguments():
        return Run(load_run(Path(path), str(checkpoint), choose_device(device, asked="device =")))


class Token(NamedTuple):
    """A token as the model reads it: its id, its text and the bytes that it stands for."""

    id: int
    text: str
    piece: bytes


class Page:
    """A page (HTML) that needs nothing else; as the last line of a notebook's cell it is shown there."""

    def __init__(self, content: str) -> None:
        self.html = content

    def __repr__(self) -> str:
        return f"<Page of {len(self.html) / 1e6:.1f} MB; .save(path) writes it to a file>"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 50em; border: 0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}"></iframe>'

    def save(self, path: PathName) -> Path:
        """Write the page to a file, which every browser opens; UserError where the place does not allow it."""
        from minigpt.storage.writing import save_page

        save_page(Path(path), self.html, "choose another place")
        return Path(path)


class Run:
    """A trained model and all that it needs, on one device.

    `loaded` has its parts for PyTorch: `loaded.model`, `loaded.tokenizer`.
    """

    def __init__(self, loaded: "runs.Run") -> None:
        self.loaded = loaded

    def __repr__(self) -> str:
        shape, tokenizer, model = self.config.model, self.loaded.tokenizer, self.loaded.model
        return (
            f"<Run {self.path}, step {self.loaded.step:,}: {model.n_parameters():,} parameters "
            f"({shape.n_layers} layers, {shape.n_heads} heads, width {shape.d_model}, context {shape.context_length}), "
            f"{tokenizer.kind} tokenizer of {tokenizer.vocab_size:,} tokens, on {model.device}>"
        )

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.loaded.folder.path

    @property
    def config(self) -> "Config":
        """Every hyperparameter: `config.model.n_layers`, and so on."""
        return self.loaded.config

    @property
    def metrics(self) -> Any:
        """What was reported at each step and evaluation (losses: nats per token): a DataFrame, without pandas dicts."""
        from minigpt.training.metrics import read_metrics

        lines = read_metrics(self.loaded.folder)
        try:
            import pandas  # type: ignore[import-untyped]
        except ModuleNotFoundError:
            return lines
        return pandas.DataFrame(lines)

    def generate(
        self, prompt: str | None = None, *, seed: int | None = None, stop: str | Sequence[str] = (), **sampling: Any
    ) -> str:
        """What the model goes on with after a prompt (after the run's own, if none is given), without the prompt.

        `sampling` has the keys of a recipe's section: temperature, max_new_tokens, top_k, top_p, min_p and so on. The
        same seed writes the same text; without one it is the run's. The text ends before the first `stop`.
        """
        return "".join(self.stream(prompt, seed=seed, stop=stop, **sampling))

    def stream(
        self, prompt: str | None = None, *, seed: int | None = None, stop: str | Sequence[str] = (), **sampling: Any
    ) -> Iterator[str]:
        """The text of `generate`, piece by piece as it is written."""
        from minigpt.generation.sampler import Request, Sampler

        if not isinstance(prompt, str | None):
            raise UserError(f"prompt = {prompt!r}: must be a text")
        stops = (stop,) if isinstance(stop, str) else tuple(stop or ())
        if not all(stops):
            raise UserError("stop = '': must not be empty")
        if seed is not None and (not isinstance(seed, int) or not 0 <= seed < 2**63):
            raise UserError(f"seed = {seed}: must be a whole number from 0 to {2**63 - 1}")
        sampler = Sampler(self.loaded, sampling, named=lambda key: f"{key} =")
        request = Request(sampler.sampling.prompt if prompt is None else prompt, seed=seed, stops=stops)
        return (text for _, text in sampler.pieces(request) if text)

    def tokens(self, text: str) -> list[Token]:
        """The tokens that the model reads of a text, begin-of-text (no text) first where it learned documents so."""
        tokenizer = self.loaded.tokenizer
        return [
            Token(token, tokenizer.decode([token]), tokenizer.token_bytes[token])
            for token in self.loaded.encode_prompt(text)
        ]

    def logits(self, text: str) -> "NDArray[np.float32]":
        """Logits (T, V): row t holds those of the token that comes after token t of `tokens(text)`.

        UserError where the text is longer than the model's context.
        """
        import torch

        model = self.loaded.model
        with torch.inference_mode():
            logits = model(model.batch(self._fitting(text)))
        return logits[0].float().cpu().numpy()

    def trace(self, text: str) -> "Trace":
        """Every number on the way from a text to its next token, as arrays; T counts the tokens of `tokens(text)`."""
        from minigpt.inspection.trace import trace

        return trace(self.loaded.model, self._fitting(text))

    def explain(self, prompt: str | None = None) -> Page:
        """The page of all these numbers, for a prompt or the run's own; a notebook shows it in place."""
        from minigpt.inspection import page

        with told_as_arguments():
            return Page(page.explain(self.loaded, prompt))

    def evaluate(self, text: PathName | None = None) -> dict[str, Any]:
        """Loss (nats per token), perplexity, bits per byte and more, over the run's validation text or another one.

        `text` is whatever `data.source` can be: a file, a folder, `hf:OWNER/NAME` and so on.
        """
        from minigpt.evaluation.text import assess

        with told_as_arguments():
            return assess(self.loaded, None if text is None else str(text))

    def export(self, path: PathName, format: str = "huggingface", dtype: str | None = None) -> Path:  # noqa: A002
        """Write the model for Hugging Face Transformers (a folder) or llama.cpp (a GGUF file); returns its place.

        `dtype` is that of the weights: f32 or f16, in a GGUF file also q8_0.
        """
        from minigpt.interop.export import export_run

        with told_as_arguments():
            export_run(self.loaded, Path(path), format, dtype)
        return Path(path)

    def _fitting(self, text: str) -> list[int]:
        ids = self.loaded.encode_prompt(text)
        if len(ids) > (longest := self.config.model.context_length):
            raise UserError(f"text: has {len(ids):,} tokens, and the model sees {longest:,} at once; shorten it")
        return ids
