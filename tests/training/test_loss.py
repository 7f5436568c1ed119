import pytest
import torch
import torch.nn.functional as F

from minigpt.config.hyperparameters import ModelConfig
from minigpt.hardware import memory
from minigpt.model.gpt import GPT
from minigpt.training.loss import TrainingLoss


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
