"""The instructions of the processor, by the names that Linux has for them: avx2, avx512_vnni, asimddp, bf16 ..."""

import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path

APPLE = {"FEAT_DotProd": "asimddp", "FEAT_BF16": "bf16", "FEAT_I8MM": "i8mm"}


@cache
def instructions() -> frozenset[str]:
    """All that the system says the processor has, or none where it says nothing.

    ATEN_CPU_CAPABILITY=avx2, which holds torch's own kernels to AVX2, does so here.
    """
    try:
        if platform.system() == "Darwin":
            found = _of_apple(subprocess.run(["/usr/sbin/sysctl", "-a"], capture_output=True, text=True).stdout)
        else:
            found = _of_linux(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return frozenset()
    held = {"avx2": r"avx512|avx_|amx", "default": r"avx|amx"}.get(os.environ.get("ATEN_CPU_CAPABILITY", ""), "$^")
    return frozenset(name for name in found if not re.match(held, name))


def has_bfloat16_matmul() -> bool:
    """Whether an x86 processor multiplies in bfloat16, and so does oneDNN."""
    return not instructions().isdisjoint({"avx512_bf16", "amx_bf16"})


def _of_linux(cpuinfo: str) -> set[str]:
    flags = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(flags[1].split()) if flags else set()


def _of_apple(sysctl: str) -> set[str]:
    """Of Apple's own processors by their architecture's names, of Intel's by the manual's, in capitals."""
    arm = {name for feature, name in APPLE.items() if re.search(rf"^hw\.optional\.arm\.{feature}: 1$", sysctl, re.M)}
    intel = " ".join(re.findall(r"^machdep\.cpu\.(?:leaf7_)?features: (.*)$", sysctl, re.MULTILINE))
    return arm | {"asimd"} if "hw.optional.arm64: 1" in sysctl else arm | set(intel.lower().split())
