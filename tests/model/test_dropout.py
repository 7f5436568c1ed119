import pytest
import torch
from conftest import random_model

from minigpt.model.dropout import Dropout


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Dropout:
    """Dropout as it is when it is compiled for a CPU."""
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    return Dropout(0.2)


def test_a_share_is_dropped_and_the_others_make_up_for_it(hashed: Dropout) -> None:
    y = hashed(torch.ones(64, 32, 128))
    assert set(y.unique().tolist()) == {0.0, 1.25}
    assert (y == 0).float().mean().item() == pytest.approx(0.2, abs=0.002)  # 6 standard deviations


def test_what_is_dropped_at_one_place_says_nothing_about_another_or_the_next_time(hashed: Dropout) -> None:
    first, again = ((hashed(torch.ones(4096, 256)) == 0).float() - 0.2 for _ in range(2))
    places = ((0, 1), (0, 2), (0, 64), (1, 0), (2, 0), (1, 1), (256, 0))
    for other in (again, *(first.roll(place, (0, 1)) for place in places)):
        assert (first * other).mean().abs() < 0.001  # 6 standard deviations
    squares = first[::2, ::2] * first[::2, 1::2] * first[1::2, ::2] * first[1::2, 1::2]  # two rows, two columns
    assert squares.mean().abs() < 6 * 0.4**4 / len(squares.flatten()) ** 0.5


def test_embeddings_are_dropped_in_training() -> None:
    embedded, _ = random_model(dropout=0.5).train().embed(torch.zeros(1, 16, dtype=torch.int64))
    assert 0.3 < (embedded == 0).float().mean() < 0.7  # 9 standard deviations


def test_the_seed_decides_what_is_dropped(hashed: Dropout) -> None:
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(hashed(torch.ones(1000)))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_nothing_is_dropped_outside_training_or_with_p_zero(hashed: Dropout) -> None:
    x = torch.randn(100)
    assert hashed.eval()(x) is x
    assert Dropout(0.0)(x) is x
