"""The example of the lesson, against its own arithmetic."""

import math

import pytest

from minigpt.inspection.worked_example import worked_example


def test_world_becomes_a_vector_is_transformed_and_an_exclamation_mark_follows() -> None:
    example = worked_example()
    assert example.one_hot == [0, 1, 0]
    assert example.embedding == pytest.approx([0.3, 0.4])
    assert example.hidden == pytest.approx([2.0, 2.7])  # 0.3·1 + 0.4·3 + 0.5, 0.3·2 + 0.4·4 + 0.5
    assert example.logits == pytest.approx([0.74, 1.68, 2.62])
    powers = [math.exp(x) for x in (0.74, 1.68, 2.62)]
    assert example.probabilities == pytest.approx([power / sum(powers) for power in powers])
    assert example.next_word == "!"
