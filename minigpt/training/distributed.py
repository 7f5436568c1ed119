"""One process or many: who am I, who writes, and how numbers are brought together (torchrun sets the environment)."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from minigpt.errors import UserError


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that prepares, prints and writes."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.world_size > 1:
            dist.barrier()

    def sum(self, values: Tensor) -> Tensor:
        """Sum of `values` over all processes."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    def maximum(self, values: Tensor) -> Tensor:
        """Largest of `values`, each for itself, over all processes."""
        if self.world_size > 1:
            dist.all_reduce(values, dist.ReduceOp.MAX)
        return values

    def share(self, value: Any) -> Any:
        """The first process's value, in all."""
        values = [value]
        if self.world_size > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, its gradients averaged over all processes in every backward pass."""
        return DistributedDataParallel(model) if self.world_size > 1 else model

    def averaging(self, model: nn.Module, wanted: bool) -> AbstractContextManager[None]:
        """Whether the backward passes inside average gradients: only a step's last micro-batch needs to."""
        return nullcontext() if wanted or not isinstance(model, DistributedDataParallel) else model.no_sync()


def is_first() -> bool:
    """Whether this process is alone, or the one that speaks of those that torchrun started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ["RANK"] == "0"


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the group that torchrun started, if it did; gloo for what is on the CPU, nccl for what is on GPUs."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        yield Processes()
        return
    try:
        processes = Processes(*(int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")))
        int(os.environ["MASTER_PORT"]), os.environ["MASTER_ADDR"]
    except (KeyError, ValueError) as error:
        raise UserError(
            f"environment: WORLD_SIZE is set, and {error} is not as torchrun sets it; start with torchrun, "
            "or unset WORLD_SIZE"
        ) from None
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        yield processes
        processes.wait()  # nobody takes the group down under another's last message
    except RuntimeError as error:
        if "gloo" not in str(error) and not isinstance(error, dist.DistError):
            raise
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun stops the others, maybe before they have told why
        raise UserError("torchrun: another process of this training has died; go on with --resume") from None
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def first_to_tell(message: str) -> bool:
    """Whether no other of the processes that torchrun started has asked this for the same message before."""
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store: Any = dist.TCPStore(address, port, is_master=False)  # type: ignore[attr-defined]
        return bool(store.add(message, 1) == 1)
    except (LookupError, ValueError, RuntimeError):  # nobody can say
        return True
