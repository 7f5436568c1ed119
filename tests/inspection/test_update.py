"""The update on the page is one step of torch's own SGD."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import random_model

from minigpt.inspection.learning import SHARES, surprisals, updates
from minigpt.inspection.trace import trace

TEXT, OTHER = [3, 1, 4, 1, 5, 9], [2, 7, 1, 8]


@pytest.mark.parametrize("kind", [{}, {"position": "learned", "norm": "layernorm", "bias": True}], ids=str)
def test_updates_are_steps_of_sgd(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    found = updates(model, TEXT, OTHER)
    assert len(found) == 1 + len(SHARES)
    for update in found:
        stepped = random_model(**kind)
        sgd = torch.optim.SGD(stepped.parameters(), lr=update.rate)
        F.cross_entropy(stepped(torch.tensor([TEXT[:-1]]))[0], torch.tensor(TEXT[1:])).backward()
        sgd.step()
        after, other = trace(stepped, TEXT), trace(stepped, OTHER)
        np.testing.assert_allclose(update.surprisals, surprisals(after.logits, TEXT), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(update.others, surprisals(other.logits, OTHER), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(update.probabilities, after.probabilities[-1], atol=1e-6)
    assert found[1].surprisals.mean() < found[0].surprisals.mean()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), "the run's own model stays as it is"
        assert parameter.grad is None


def test_surprise_is_minus_the_logarithm_of_a_words_probability() -> None:
    traced = trace(random_model(), TEXT)
    for place, nats in enumerate(surprisals(traced.logits, TEXT)):
        assert np.exp(-nats) == pytest.approx(traced.probabilities[place][TEXT[place + 1]], rel=1e-4)
