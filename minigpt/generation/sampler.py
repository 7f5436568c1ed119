"""Prompts come in, texts go out, character by character where there is one of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.errors import UserError, nearest
from minigpt.generation.generate import generate
from minigpt.generation.text import shown
from minigpt.hardware.device import Engine
from minigpt.hardware.precision import choose_precision
from minigpt.inference.packed import inference_dtype, pack
from minigpt.runs import Run


@dataclass(frozen=True)
class Request:
    """What to write; without a seed it is the run's."""

    prompt: str
    n_samples: int = 1
    seed: int | None = None
    stops: tuple[str, ...] = ()


def as_option(key: str) -> str:
    """A setting as the command line has it."""
    return f"command line: --{key.replace('_', '-')}"


class Sampler:
    """A run's model, ready to write: as its recipe says, with changes.

    UserError where a change is not possible; it is `named` as it was given.
    """

    def __init__(self, run: Run, changes: Mapping[str, Any], named: Callable[[str], str] = as_option) -> None:
        self.run = run
        try:
            self.sampling = SamplingConfig(**{**run.config.sampling.model_dump(), **changes})
        except ValidationError as error:
            first = error.errors()[0]
            key, message = str(first["loc"][0]), first["msg"].replace("Input should be", "must be")
            if first["type"] == "extra_forbidden":
                message = f"unknown key{nearest(key, SamplingConfig.model_fields)}"
            raise UserError(f"{named(key)} {first['input']}: {message}") from None
        place = run.model.device
        otherwise = Engine(place, choose_precision("auto", place)).dtype
        dtype = inference_dtype(run.model.config, self.sampling.precision, otherwise, place)
        self._model = pack(run.model, dtype)

    def pieces(self, request: Request) -> Iterator[tuple[int, str]]:
        """What each sample goes on with, by its number, as soon as it can be shown; without the prompt."""
        tokenizer = self.run.tokenizer
        prompt = tokenizer.encode_prompt(request.prompt, self.sampling.begin_document is True)
        steps = generate(
            self._model,
            prompt,
            self.sampling,
            end_of_text=tokenizer.end_of_text,
            seed=self.run.config.run.seed if request.seed is None else request.seed,
            n_samples=request.n_samples,
        )
        tokens = (step.token_ids.tolist() for step in steps)
        return shown(tokens, tokenizer.token_bytes, request.stops, request.n_samples)

    def texts(self, request: Request) -> list[str]:
        """Continue the prompt once for each sample."""
        texts = [""] * request.n_samples
        for row, text in self.pieces(request):
            texts[row] += text
        return texts

    def as_json(self, request: Request) -> dict[str, Any]:
        """Prompt, settings and texts as one document."""
        return {
            "run": str(self.run.folder.path),
            "step": self.run.step,
            "prompt": request.prompt,
            "sampling": self.sampling.model_dump(exclude={"prompt"}),
            "samples": self.texts(request),
        }
