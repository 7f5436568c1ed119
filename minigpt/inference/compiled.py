"""The C++ of inference, compiled where it is first needed, for the instructions of the processor, and kept."""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from ctypes import c_int64, c_void_p
from pathlib import Path

from tqdm import tqdm

from minigpt.errors import UserError
from minigpt.hardware.instructions import instructions

SOURCE = Path(__file__).parent / "cpp" / "step.cpp"
COMPILERS = ("clang++", "c++") if sys.platform == "darwin" else ("g++", "clang++", "c++")
OPTIONS = (
    "-std=c++17", "-O3", "-shared", "-fPIC", "-pthread", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=off",  # the same bits whether or not there is an instruction that multiplies and adds
)  # fmt: skip
INSTRUCTION_SETS = {
    "avx512_vnni": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mfma"),
    "avx_vnni": ("-mavx2", "-mavxvnni", "-mfma"),
    "avx2": ("-mavx2", "-mfma"),
    "asimddp": ("-march=armv8.2-a+dotprod",),
    "asimd": ("-march=armv8-a",),
    "plain": ("-DPLAIN",),
}
"""What the compiler is told for each, the fastest first; `cpp/instructions.h` takes the file that fits."""


def available() -> list[str]:
    """The instruction sets that the processor has, the fastest first; any has the last."""
    return [name for name in INSTRUCTION_SETS if name in instructions() or name == "plain"]


@functools.cache
def load() -> ctypes.CDLL | None:
    """The compiled code for the fastest instructions, or None where this machine cannot have it."""
    compiler = find_compiler()
    if compiler is None:
        return None
    library = next(filter(None, (load_for(name, compiler) for name in available())), None)
    if library is None:
        command = shlex.join(compiler)
        _tell(f"warning: {command} cannot compile the code for inference, or it cannot be kept; texts come slower")
    return library


def find_compiler() -> tuple[str, ...] | None:
    """The command that CXX names in the environment, or the first compiler that is installed."""
    if wish := os.environ.get("CXX"):
        try:
            return tuple(shlex.split(wish))
        except ValueError as error:
            raise UserError(f"environment: CXX = {wish}: is no command ({error}); correct or unset it") from None
    return next(((name,) for name in COMPILERS if shutil.which(name)), None)


@functools.cache
def load_for(instruction_set: str, compiler: tuple[str, ...]) -> ctypes.CDLL | None:
    """The compiled code for one instruction set, or None where the compiler cannot make it or it cannot be kept."""
    command = [*compiler, *OPTIONS, *INSTRUCTION_SETS[instruction_set]]
    if any("clang" in word for word in compiler):  # whose OpenMP is not torch's
        return _load(command)
    return _load([*command, "-fopenmp"]) or _load(command)


@functools.cache
def _tell(text: str) -> None:
    """Once in a process, whatever number of ways are tried."""
    tqdm.write(text, file=sys.stderr)


def _load(command: list[str]) -> ctypes.CDLL | None:
    code = b"".join(path.read_bytes() for path in sorted(SOURCE.parent.rglob("*.[ch]*")))
    name = hashlib.sha256(code + str([platform.machine(), *command]).encode()).hexdigest()[:16] + ".so"
    try:
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "minigpt", name)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            _tell("compile  the code for inference, for some seconds, once")
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                subprocess.run([*command, SOURCE, "-o", Path(folder, name)], check=True, capture_output=True)  # noqa: S603
                Path(folder, name).replace(kept)
        library = ctypes.CDLL(str(kept))
    except (OSError, RuntimeError, subprocess.CalledProcessError):  # no compiler, no place to write, no home, ...
        return None
    library.next_logits.argtypes = [c_void_p] * 4 + [c_int64] * 5
    library.next_logits.restype = None
    return library
