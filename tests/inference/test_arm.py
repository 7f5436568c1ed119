"""What Arm processors write is what this one does, bit for bit: compiled for them, and run by an emulator."""

import shutil
import subprocess
from pathlib import Path

import pytest

from minigpt.inference.compiled import INSTRUCTION_SETS, OPTIONS, SOURCE, find_compiler

PROGRAM = Path(__file__).parent / "random_model.cpp"
CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
NEEDED = (CROSS_COMPILER, EMULATOR)
MISSING = [name for name in NEEDED if not shutil.which(name)]


def compiled(folder: Path, compiler: tuple[str, ...], instruction_set: str, *more: str) -> Path:
    options = [option for option in OPTIONS if option != "-shared"] + [*INSTRUCTION_SETS[instruction_set], *more]
    program = folder / instruction_set
    command = [*compiler, *options, f"-I{SOURCE.parent}", PROGRAM, "-o", program]
    subprocess.run(command, check=True)
    return program


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = compiled(tmp_path_factory.mktemp("here"), find_compiler() or (), "plain", "-O1")
    return subprocess.run([program], check=True, capture_output=True, text=True).stdout


@pytest.mark.skipif(
    bool(MISSING), reason=f"needs {' and '.join(MISSING)} (apt-get install g++-aarch64-linux-gnu qemu-user)"
)
@pytest.mark.skipif(find_compiler() is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("instruction_set", ["asimd", "asimddp"])
def test_arm_gives_the_same_bits(instruction_set: str, expected: str, tmp_path: Path) -> None:
    program = compiled(tmp_path, (CROSS_COMPILER, "-static"), instruction_set)
    written = subprocess.run([EMULATOR, program], check=True, capture_output=True, text=True).stdout
    assert all(int(bits, 16) & 0x7FFFFFFF < 0x7F800000 for bits in written.split()), "not a number"
    assert len(set(expected.split())) > 1000
    assert written == expected
