"""Who wrote the answer? A logit as the sum of what each part of the model has added to the residual stream.

The stream is a sum; so is each logit, once the final norm's scale is taken as it came out. Method: Elhage 2021, 'A
Mathematical Framework for Transformer Circuits'.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from minigpt.inspection.trace import Trace
from minigpt.model.block import Block
from minigpt.model.gpt import GPT

Numbers = NDArray[np.float64]


def attribution(model: GPT, traced: Trace, token_ids: Sequence[int]) -> dict[str, Numbers]:
    """What each part adds to the logits of N tokens after the text: N numbers for each part, on its way.

    Parts are named as in `intervene.py`, beside "embedding", "position" and "biases"; they sum to the logits.
    """
    written = {"embedding": traced.embedding[-1] * np.float64(model.embedding_scale)}
    if traced.position is not None:
        written["position"] = traced.position[-1].astype(np.float64)
    biases = np.zeros(model.config.d_model)
    for number, (block, layer) in enumerate(zip(model.blocks, traced.layers, strict=True), 1):
        assert isinstance(block, Block)
        output, down = block.attention.o_proj, block.feed_forward.down_proj
        heads = np.split(_exact(output.weight), model.config.n_heads, axis=1)  # D K each
        for head, (matrix, mixed) in enumerate(zip(heads, layer.attention.mixed[:, -1], strict=True), 1):
            written[f"{number}.{head}"] = matrix @ mixed
        written[f"{number}.neurons"] = _exact(down.weight) @ layer.feed_forward.hidden[-1]
        biases += sum(_exact(linear.bias) for linear in (output, down) if linear.bias is not None)
    norm, x = model.final_norm, traced.layers[-1].leaving[-1].astype(np.float64)
    words = _exact(model.lm_head.weight[list(token_ids)])  # N D
    constant = np.zeros(len(words))
    if isinstance(norm, nn.LayerNorm):
        written |= {name: vector - vector.mean() for name, vector in written.items()}
        biases, x = biases - biases.mean(), x - x.mean()
        constant = words @ _exact(norm.bias) if norm.bias is not None else constant
    assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
    words = words * (_exact(norm.weight) / np.sqrt(np.square(x).mean() + (norm.eps or 0.0)))
    shares = {name: words @ vector for name, vector in written.items()}
    constant = constant + words @ biases
    return {**shares, "biases": constant} if constant.any() else shares


def _exact(tensor: Tensor) -> Numbers:
    return tensor.detach().double().cpu().numpy()
