import pytest
import torch
import torch.nn.functional as F

from minigpt.config.hyperparameters import ModelConfig
from minigpt.hardware import memory
from minigpt.model.gpt import GPT
from minigpt.training.loss import TrainingLoss, softmax_gradient


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("n_tokens", [24, 23])
def test_loss_and_gradients_are_those_of_the_whole_logits(
    tie_embeddings: bool, n_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LOGITS_IN_CACHE", 300)
    shape = {"context_length": 24, "d_model": 8, "n_heads": 2, "n_layers": 1, "tie_embeddings": tie_embeddings}
    model = GPT(ModelConfig(vocab_size=50, **shape))
    model.initialise(0)
    inputs, targets = torch.randint(50, (2, 3, n_tokens), generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    (3 * expected).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    found = TrainingLoss(model, torch.float32, compiled=False)(inputs, targets)
    (3 * found).backward()
    torch.testing.assert_close(found, expected)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], msg=name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("n_fillers", [0, 3])
def test_gradient_of_logits_is_autograds_and_nothing_for_fillers(dtype: torch.dtype, n_fillers: int) -> None:
    logits = (4 * torch.randn(20, 10 + n_fillers, generator=torch.Generator().manual_seed(0))).to(dtype)
    targets = torch.arange(20) % 10
    words = logits[:, :10].float().requires_grad_()
    expected = F.cross_entropy(words, targets, reduction="sum")
    expected.backward()
    nats, gradient = softmax_gradient(logits, targets, 10)
    torch.testing.assert_close(nats, expected.detach())
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient[:, :10], words.grad.to(dtype))
    assert not gradient[:, 10:].any()


def test_a_token_that_seemed_impossible_costs_no_more_than_float32_can_tell() -> None:
    nats, gradient = softmax_gradient(torch.tensor([[0.0, 500.0]]), torch.tensor([0]), 2)
    assert nats.item() == pytest.approx(87.34, abs=0.01)
    assert gradient.tolist() == [[-1.0, 1.0]]
