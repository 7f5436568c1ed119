"""The training loop: read a batch, predict, compare, update; save, evaluate and stop when it is time."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor

from minigpt.config.hyperparameters import Config
from minigpt.data.batches import Batches, evaluation_windows
from minigpt.evaluation.loss import TOKENS_AT_ONCE, Evaluation, evaluate
from minigpt.generation.generate import generate
from minigpt.hardware.compiler import eager, record
from minigpt.hardware.device import Engine
from minigpt.inference.packed import inference_dtype, pack
from minigpt.model.gpt import GPT
from minigpt.optimizers import learning_rate_factor, make_optimizers
from minigpt.runs import RunFolder
from minigpt.training import loss_scale
from minigpt.training.budget import share_spent, tokens_per_step
from minigpt.training.checkpoint import Keeper, load_checkpoint
from minigpt.training.continuation import origins
from minigpt.training.corpus import Corpus
from minigpt.training.distributed import Processes
from minigpt.training.divergence import diverged
from minigpt.training.hooks import NO_HOOKS, Hooks
from minigpt.training.interruption import Interrupted, Interruption
from minigpt.training.loss import TrainingLoss
from minigpt.training.metrics import MetricsLog, ProgressBar, open_tensorboard
from minigpt.training.place import in_place
from minigpt.training.progress import Progress


class Trainer:
    """One run in one process. `model` is already on the engine's device; it goes on from the checkpoint of a `step`."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        corpus: Corpus,
        model: GPT,
        engine: Engine,
        processes: Processes,
        step: int | None = None,
        hooks: Hooks = NO_HOOKS,
    ) -> None:
        self.config, self.folder, self.corpus = config, folder, corpus
        self.model, self.engine, self.processes, self.hooks = model, engine, processes, hooks
        self.optimizers = make_optimizers(model, config, engine.dtype)
        self.progress = Progress() if step is None else load_checkpoint(folder, model, self.optimizers, step)
        self.origins = origins(config, corpus, processes)
        self.keeper = Keeper(folder, config.training, None if step is None else self.progress)
        self.loss = processes.wrap(TrainingLoss(model, engine.dtype, compiled=config.run.compile is True))
        self.batches = Batches(
            corpus.train,
            config.model.context_length,
            config.training.batch_size,
            config.run.seed,
            corpus.tokenizer.begin_of_text,
            processes.rank,
            processes.world_size,
        )
        if processes.world_size == config.training.gradient_accumulation_steps == 1:
            record(self.loss, self.batch(0), engine)
        self.interruption = Interruption()

    def train(self, began: float) -> Evaluation:
        """Train to the end of the budget, on a clock (`time.perf_counter`) that stood at `began` when it started.

        Returns the last evaluation. Raises `Interrupted` when told to stop.
        """
        self.began = began - self.progress.seconds
        self.agree()
        every = self.config.training
        with self.interruption.watch(), self._outputs():
            while True:
                finished, step = self.spent() >= 1 or self.out_of_patience(), self.progress.step
                evaluation_due = finished or (step > 0 and step % every.evaluate_every == 0)
                if evaluation_due or self.interruption.requested or step % every.checkpoint_every == 0:
                    self.save()
                if self.interruption.requested:
                    raise Interrupted(f"saved at step {step}; go on with --resume")
                if evaluation_due:
                    evaluation = self.evaluate()
                if finished or self.out_of_patience():
                    return evaluation
                self.step()

    def step(self) -> None:
        """One optimizer update over all micro-batches."""
        begin, step = time.perf_counter(), self.progress.step
        float16 = self.engine.precision == "float16"
        loss_value, norm = loss_scale.in_range(self.gradients, self.progress) if float16 else self.gradients()
        self.check_finite(loss_value, norm)
        own = self.hooks.rate_factor
        self.progress.follow(loss_value)
        factor = own(step) if own else learning_rate_factor(self.config.schedule, step, self.spent())
        self.optimizers.step(factor)

        n_tokens = tokens_per_step(self.config)
        self.progress.step += 1
        self.progress.tokens += n_tokens
        self.agree()
        metrics = {
            "step": self.progress.step,
            "tokens": self.progress.tokens,
            "seconds": round(self.progress.seconds, 3),
            "loss": loss_value,
            "learning_rate": factor * self.config.optimizer.learning_rate,
            "gradient_norm": norm,
            "tokens_per_second": round(n_tokens / (time.perf_counter() - begin), 1),
        }
        if self.log:
            self.log.write(**metrics)
        self.bar.step(self.spent(), metrics)

    def gradients(self, scale: float = 1.0) -> tuple[float, float]:
        """Make a step's gradients, clipped; returns loss and norm. The loss goes backward `scale` times as large."""
        self.optimizers.forget_gradients()
        self.engine.seed(self.seed("dropout", self.processes.rank))
        loss_sum = torch.zeros((), device=self.engine.device)
        accumulated = self.config.training.gradient_accumulation_steps
        first_row = self.progress.tokens // self.config.model.context_length
        for micro_step in range(accumulated):
            inputs, targets = self.batch(first_row + micro_step * self.config.training.batch_size)
            with self.processes.averaging(self.loss, micro_step == accumulated - 1):
                with self.engine.autocast():
                    loss = self.loss(inputs, targets) / accumulated
                (loss * scale if scale != 1 else loss).backward()
            loss_sum += loss.detach()
        if scale != 1:
            for parameter in self.model.parameters():
                assert parameter.grad is not None
                parameter.grad /= scale
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.training.gradient_clip or math.inf)
        return self.processes.sum(loss_sum).item() / self.processes.world_size, norm.item()

    def batch(self, first_row: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the micro-batch that begins with a row of the run, on the device."""
        inputs, targets = self.batches.batch(first_row)
        return self.engine.put(inputs), self.engine.put(targets)

    def spent(self) -> float:
        """Share of the run's budget that is used up."""
        return share_spent(self.config.training, self.progress.step, self.progress.seconds)

    def out_of_patience(self) -> bool:
        """Whether the validation loss has not improved for too long."""
        patience = self.config.training.patience
        return patience is not None and self.progress.stale_evaluations >= patience

    def agree(self) -> None:
        """Bring the clock forward and hear of interruptions: all processes decide alike."""
        now = torch.tensor([time.perf_counter() - self.began, float(self.interruption.requested)], dtype=torch.float64)
        self.progress.seconds, requested = self.processes.maximum(now).tolist()
        self.interruption.requested = bool(requested)

    def check_finite(self, loss: float, norm: float) -> None:
        """Stop before a loss or gradient that is not a number reaches the weights."""
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"the loss is {loss}, the gradient's norm {norm}"
            raise diverged(self.folder, self.progress.step + 1, what)

    def save(self) -> None:
        """Save a checkpoint of this step, if there is none yet."""
        if self.log:
            self.progress.metrics_bytes = self.log.position()
            self.keeper.save(self.model, self.optimizers, self.progress, self.origins)
        self.processes.wait()

    def evaluate(self) -> Evaluation:
        """Loss on the same validation tokens every time, shared out over the processes; remembers the best."""
        length, limit = self.config.model.context_length, self.config.training.evaluation_tokens
        batch_size = max(1, TOKENS_AT_ONCE // length)
        begin_of_text = self.corpus.tokenizer.begin_of_text
        windows = evaluation_windows(self.corpus.validation[: limit + 1], length, batch_size, begin_of_text)
        mine = islice(windows, self.processes.rank, None, self.processes.world_size)
        with eager(), self.engine.autocast():
            part = evaluate(self.model, mine, self.corpus.tokenizer)
        sums = self.processes.sum(torch.tensor([part.nats, part.tokens, part.bytes], dtype=torch.float64))
        evaluation = Evaluation(float(sums[0]), int(sums[1]), int(sums[2]))
        progress = self.progress
        if not math.isfinite(evaluation.loss):
            raise diverged(self.folder, progress.step, f"the validation loss is {evaluation.loss}")
        if progress.best_loss is None or evaluation.loss < progress.best_loss:
            progress.best_loss, progress.best_step, progress.stale_evaluations = evaluation.loss, progress.step, 0
        else:
            progress.stale_evaluations += 1
        if self.log:
            sample = self.sample()
            self.log.write(
                step=progress.step,
                tokens=progress.tokens,
                seconds=round(time.perf_counter() - self.began, 3),
                validation_loss=evaluation.loss,
                perplexity=evaluation.perplexity,
                bits_per_byte=evaluation.bits_per_byte,
                entropy=self.corpus.entropy,
                sample=sample,
            )
            self.keeper.write_index(progress, self.log.position())
            self.bar.evaluation(progress.step, evaluation.loss, sample)
            if self.hooks.on_evaluation:
                self.hooks.on_evaluation(self.folder, self.spent(), evaluation.loss)
        self.agree()
        return evaluation

    def sample(self) -> str:
        """A text by the model as it is now; the same random numbers at the same step."""
        tokenizer, config = self.corpus.tokenizer, self.config.sampling
        prompt = tokenizer.encode_prompt(config.prompt, config.begin_document is True)
        weights = inference_dtype(self.model.config, config.precision, self.engine.dtype, self.engine.device)
        model = pack(self.model, weights)
        steps = generate(model, prompt, config, end_of_text=tokenizer.end_of_text, seed=self.seed("sampling"))
        token_ids = [int(step.token_ids) for step in steps]
        return tokenizer.decode([*prompt, *token_ids])

    def seed(self, purpose: str, rank: int = 0) -> int:
        """Seed of the random numbers that one step needs for one purpose: nothing else can shift them."""
        names = ("dropout", "sampling")
        place = (self.progress.step * len(names) + names.index(purpose)) * self.processes.world_size + rank
        return (self.config.run.seed * 1_000_003 + place) % 2**63

    @contextmanager
    def _outputs(self) -> Iterator[None]:
        """Progress bar and metrics file, both only in the first process."""
        first = self.processes.first
        wanted = first and self.config.run.tensorboard
        n_bytes, step = self.progress.metrics_bytes, self.progress.step
        curves = open_tensorboard(self.folder.tensorboard, step) if wanted else None
        self.log = MetricsLog(self.folder.metrics, n_bytes, step, curves) if first else None
        self.bar = ProgressBar(self.spent(), shown=first)
        try:
            with in_place(self.folder):
                yield
        finally:
            self.bar.close()
            if self.log:
                self.log.close()
