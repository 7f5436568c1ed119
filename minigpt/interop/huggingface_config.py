"""What config.json says of a model of GPT-2, Llama, Qwen2 or Qwen3, in minigpt's words."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, StrictInt, ValidationError

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError

ONLY: dict[str, tuple[object, ...]] = {
    "hidden_act": ("silu",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "use_sliding_window": (False,),
    "quantization_config": (None,),
    "rope_scaling": (None,),
}
"""Settings with the values that minigpt's model has."""


class Common(BaseModel):
    """What all families have."""

    model_type: str | None = None
    layer_types: list[str] | None = None
    rope_parameters: dict[str, Any] | None = None
    eos_token_id: StrictInt | list[StrictInt] | None = None


class Gpt2(Common):
    """What config.json says of a GPT-2, with the defaults of Transformers."""

    vocab_size: int = 50_257
    n_positions: int = 1024
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    n_inner: int | None = None
    layer_norm_epsilon: float = 1e-5
    tie_word_embeddings: bool = True

    def shape(self) -> dict[str, Any]:
        """The same in minigpt's words."""
        return {
            "context_length": self.n_positions,
            "d_model": self.n_embd,
            "n_layers": self.n_layer,
            "n_heads": self.n_head,
            "d_ff": self.n_inner or 4 * self.n_embd,
            "norm_epsilon": self.layer_norm_epsilon,
            "position": "learned",
            "norm": "layernorm",
            "feed_forward": "gelu",
            "qk_norm": False,
            "bias": True,
        }

    def has_bias(self, _part: str) -> bool:
        """Whether a linear layer has biases."""
        return True


class Llama(Common):
    """What config.json says of a Llama, with the defaults of Transformers."""

    vocab_size: int = 32_000
    hidden_size: int = 4096
    intermediate_size: int = 11_008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False

    def shape(self) -> dict[str, Any]:
        """The same in minigpt's words."""
        return {
            "context_length": self.max_position_embeddings,
            "d_model": self.hidden_size,
            "n_layers": self.num_hidden_layers,
            "n_heads": self.num_attention_heads,
            "n_kv_heads": self.num_key_value_heads,
            "d_head": self.head_dim,
            "d_ff": self.intermediate_size,
            "norm_epsilon": self.rms_norm_eps,
            "rope_theta": self.rope_theta,
            "qk_norm": False,
            "bias": any(map(self.has_bias, ("q_proj", "o_proj", "up_proj"))),
        }

    def has_bias(self, part: str) -> bool:
        """Whether a linear layer has biases."""
        return self.attention_bias if part in ("q_proj", "k_proj", "v_proj", "o_proj") else self.mlp_bias


class Qwen2(Llama):
    """Llama with biases of queries, keys and values."""

    vocab_size: int = 151_936
    intermediate_size: int = 22_016
    num_key_value_heads: int | None = 32
    max_position_embeddings: int = 32_768

    def has_bias(self, part: str) -> bool:
        """Whether a linear layer has biases."""
        return part in ("q_proj", "k_proj", "v_proj")


class Qwen3(Llama):
    """Llama with normalised queries and keys."""

    vocab_size: int = 151_936
    intermediate_size: int = 22_016
    num_key_value_heads: int | None = 32
    head_dim: int | None = 128
    max_position_embeddings: int = 32_768

    def shape(self) -> dict[str, Any]:
        """The same in minigpt's words."""
        return super().shape() | {"qk_norm": True}


FAMILIES: dict[str, type[Gpt2 | Llama]] = {"gpt2": Gpt2, "llama": Llama, "qwen2": Qwen2, "qwen3": Qwen3}


def read_settings(document: Mapping[str, Any], place: Path) -> tuple[Gpt2 | Llama, ModelConfig]:
    """A family's settings and the same as a shape; UserError where it is another family, or has what minigpt lacks."""
    try:
        family = Common.model_validate(document).model_type or ""
        if family not in FAMILIES:
            raise UserError(f"{place}: model_type = {family!r}: minigpt can have models of {', '.join(FAMILIES)}")
        _check(document, place)
        settings = FAMILIES[family].model_validate({**document, **_rope(document, place)})
        shape = ModelConfig(
            **settings.shape(),
            vocab_size=settings.vocab_size,
            tie_embeddings=settings.tie_word_embeddings,
            scale_embeddings=False,
            reference_width=None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        key = "".join(f"{part} = {first['input']}: " for part in first["loc"][:1])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{place}: {key}{reason}; put back what the model was saved with, or import another") from None
    return settings, shape


def _check(document: Mapping[str, Any], place: Path) -> None:
    """UserError where a setting has a value that minigpt's model cannot have."""
    for key, allowed in ONLY.items():
        if key in document and document[key] not in allowed:
            raise UserError(f"{place}: {key} = {document[key]}: minigpt's model can have {allowed[0]} only")
    others = set(document.get("layer_types") or ()) - {"full_attention"}
    if others:
        raise UserError(f"{place}: layer_types: minigpt's model can have full_attention only, not {min(others)}")


def _rope(document: Mapping[str, Any], place: Path) -> dict[str, float]:
    """The base of the rotary frequencies where newer versions of Transformers write it."""
    rope = document.get("rope_parameters") or {}
    for key, only in (("rope_type", "default"), ("partial_rotary_factor", 1.0)):
        if rope.get(key, only) != only or document.get(key, only) != only:
            value = rope.get(key, document.get(key))
            raise UserError(f"{place}: {key} = {value}: minigpt's rotary positions can have {only} only")
    return {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
