"""How large a difference chance alone makes."""

from collections.abc import Sequence
from statistics import stdev

T_QUANTILES = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)
"""Student's t for 1, 2, ... degrees of freedom, 95% on both sides; NIST/SEMATECH e-Handbook, 1.3.6.7.2."""


def noise(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Half the width of the 95% interval of the difference of two means (Welch 1947); None without several values."""
    if len(one) < 2 or len(other) < 2:
        return None
    parts = [stdev(values) ** 2 / len(values) for values in (one, other)]
    if not sum(parts):
        return 0.0
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (one, other), strict=True))
    index = int(freedom) - 1  # rounded down: the interval is rather too wide
    quantile = T_QUANTILES[index] if index < len(T_QUANTILES) else 2.12
    return float(quantile * sum(parts) ** 0.5)
