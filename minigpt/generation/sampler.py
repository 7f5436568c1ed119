"""`minigpt sample`: prompts come in, texts go out, character by character where there is one of them."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.errors import UserError
from minigpt.generation.generate import generate
from minigpt.generation.text import TextStream
from minigpt.hardware.device import Engine, choose_device
from minigpt.hardware.precision import choose_precision
from minigpt.inference.packed import inference_dtype, pack
from minigpt.runs import load_run


@dataclass(frozen=True)
class Request:
    """What to write; without a seed it is the run's."""

    prompt: str
    n_samples: int = 1
    seed: int | None = None
    stops: tuple[str, ...] = ()


class Sampler:
    """A run's model, ready to write."""

    def __init__(self, path: Path, checkpoint: str, device: str, changes: dict[str, Any]) -> None:
        self.run = load_run(path, checkpoint, choose_device(device))
        try:
            self.sampling = SamplingConfig(**{**self.run.config.sampling.model_dump(), **changes})
        except ValidationError as error:
            first = error.errors()[0]
            option = f"--{str(first['loc'][0]).replace('_', '-')}"
            message = first["msg"].replace("Input should be", "must be")
            raise UserError(f"command line: {option} {first['input']}: {message}") from None
        place = self.run.model.token_embedding.weight.device
        otherwise = Engine(place, choose_precision("auto", place)).dtype
        dtype = inference_dtype(self.run.model.config, self.sampling.precision, otherwise, place)
        self._model = pack(self.run.model, dtype)

    def texts(self, request: Request, write: bool) -> list[str]:
        """Continue the prompt; with `write`, the first text is written to standard output as it comes."""
        tokenizer = self.run.tokenizer
        prompt = tokenizer.encode_prompt(request.prompt, self.sampling.begin_document is True)
        streams = [TextStream(request.stops) for _ in range(request.n_samples)]
        texts = [""] * request.n_samples
        steps = generate(
            self._model,
            prompt,
            self.sampling,
            end_of_text=tokenizer.end_of_text,
            seed=self.run.config.run.seed if request.seed is None else request.seed,
            n_samples=request.n_samples,
        )

        def take(row: int, piece: bytes, final: bool = False) -> None:
            text = streams[row].feed(piece, final)
            texts[row] += text
            if write and row == 0:
                print(text, end="", flush=True)  # noqa: T201

        for step in steps:
            for row, token in enumerate(step.token_ids.tolist()):
                take(row, tokenizer.token_bytes[token])
            if all(stream.stopped for stream in streams):
                break
        for row in range(request.n_samples):
            take(row, b"", final=True)
        return texts

    def print_samples(self, request: Request) -> None:
        """Write every text with its prompt to standard output; a single one as it comes."""
        if request.n_samples == 1:
            print(request.prompt, end="", flush=True)  # noqa: T201
            self.texts(request, write=True)
            print()  # noqa: T201
            return
        for number, text in enumerate(self.texts(request, write=False), 1):
            print(f"--- {number}\n{request.prompt}{text}")  # noqa: T201

    def converse(self, request: Request) -> None:
        """Continue line after line of standard input, until it ends."""
        hint = f"{self.run.folder.path}, step {self.run.step}: a line to continue, Ctrl-D to end"
        print(hint, file=sys.stderr)  # noqa: T201
        while True:
            print("> ", end="", file=sys.stderr, flush=True)  # noqa: T201
            try:
                line = sys.stdin.readline()
            except UnicodeDecodeError:
                raise UserError("standard input: not UTF-8; give UTF-8 text") from None
            if not line:
                return
            try:
                self.print_samples(replace(request, prompt=line.rstrip("\n")))
            except UserError as error:
                print(f"error: {error}", file=sys.stderr)  # noqa: T201

    def as_json(self, request: Request) -> dict[str, Any]:
        """Prompt, settings and texts as one document."""
        return {
            "run": str(self.run.folder.path),
            "step": self.run.step,
            "prompt": request.prompt,
            "sampling": self.sampling.model_dump(exclude={"prompt"}),
            "samples": self.texts(request, write=False),
        }
