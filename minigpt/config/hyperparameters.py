"""Every hyperparameter: its default, its range and its meaning, once.

Widths that are null are worked out from the others, and what is `auto` is chosen when training begins: a resolved
config holds every number that matters.
"""

import os
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from minigpt.config.choices import OpenRecipe, open_to_choice
from minigpt.config.section import Section
from minigpt.config.widths import Widths, nearest_width

DEVICES = r"^(auto|cpu|mps|cuda(:[0-9]{1,3})?)$"
Fraction = Annotated[float, Field(ge=0, le=1)]
Place = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$"), AfterValidator(os.path.expanduser)]
Derived = Annotated[int, Field(ge=1, validate_default=True, json_schema_extra={"type": ["integer", "null"]})]


class RunConfig(Section):
    """Where the run lives and what it runs on."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run; its folder is `runs/NAME` unless `directory` says otherwise."""
    directory: Place | None = None
    """Folder of the run."""
    seed: int = Field(1337, ge=0, lt=2**63)
    """Seed of every random generator of the run (initialisation, batches, dropout, sampling)."""
    device: str = Field("auto", pattern=DEVICES)
    """auto takes CUDA, then Apple's MPS, then the CPU."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of the matmuls; weights stay float32. auto takes the fastest here that trains well."""
    compile: Literal["auto", True, False] = "auto"
    """torch.compile for the blocks; auto compiles where the run is long enough to earn the compilation back."""
    tensorboard: bool = False
    """Write the curves for TensorBoard as well, into the run's folder `tensorboard`."""


class DataConfig(Section):
    """Where the text comes from."""

    source: Place | None = "stories"
    """stories | python | a file, folder or glob (text, JSON, JSON Lines, CSV, TSV, Parquet, packed too: .gz, .zst, .xz,
    .bz2) | hf:OWNER/NAME | an https: address | null: none, of a model that was imported."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of the text behind an https: source."""
    subset: str | None = None
    """Configuration name of a hub data set."""
    text_column: str = Field("text", min_length=1)
    """Column or key of a record that holds the text, or a path of keys (meta.text); a list of texts becomes lines."""
    document_separator: str | None = Field(None, min_length=1)
    """What parts the documents of a text file, such as <|endoftext|>; line ends around it go with it."""
    skip_empty: bool = False
    """Leave records without text out, and say how many, instead of refusing them."""
    max_documents: int | None = Field(None, ge=1, le=10**12)
    """Take only so many documents from the source."""
    n_stories: int = Field(60_000, ge=100, le=100_000_000)
    """Documents that the built-in corpus has."""
    stories_seed: int = Field(0, ge=0)
    """Seed of the built-in corpus, apart from `run.seed`, so that runs with several seeds share one corpus."""
    directory: Place = "data"
    """Folder for downloads and prepared tokens."""
    validation_fraction: float = Field(0.1, gt=0, lt=1)
    """Share of the text, at its end, that is validated on; not used where the data set has a validation split."""


class TokenizerConfig(Section):
    """How text becomes token ids."""

    kind: str = Field("bpe", min_length=1, json_schema_extra=open_to_choice)
    """character | byte | bpe | word, or the name of a tiktoken encoding (gpt2, cl100k_base, o200k_base);
    huggingface: the one that an imported model came with."""
    vocab_size: int = Field(1024, ge=257, le=1_000_000, json_schema_extra=open_to_choice)
    """Size of a bpe or word vocabulary, end-of-text included; the other kinds have their own."""


class ModelConfig(Widths):
    """Shape of the transformer."""

    vocab_size: int | None = Field(None, ge=2, le=10**8)
    """Set from the tokenizer when the run begins."""
    context_length: int = Field(256, ge=2, le=1_048_576, json_schema_extra=open_to_choice)
    """Tokens that the model sees at once."""
    n_layers: int = Field(4, ge=1, le=1024, json_schema_extra=open_to_choice)
    n_heads: int = Field(4, ge=1, le=1024, json_schema_extra={"type": ["integer", "null"]})
    """Query heads; null: as many of width `d_head` as make up d_model."""
    n_kv_heads: Derived = Field(default=None, le=1024)  # type: ignore[assignment]
    """Key and value heads (grouped-query attention); null: as many as query heads."""
    d_model: int = Field(256, ge=1, le=65_536, json_schema_extra=open_to_choice)
    """Width of the residual stream."""
    reference_width: Derived = Field(default=256, le=65_536)
    """Width that the recipe was tuned for. At another one AdamW's learning rates of matrices and the embeddings' factor
    change so that the same numbers go on being the best ones; null: d_model, nothing changes."""
    d_head: Derived = Field(default=None, le=65_536)  # type: ignore[assignment]
    """Width of one head; null: d_model / n_heads."""
    feed_forward: Literal["swiglu", "gelu"] = "swiglu"
    d_ff: Derived = Field(default=None, le=1_048_576)  # type: ignore[assignment]
    """Hidden width of the feed-forward network; null: 4 d_model for gelu, 8/3 d_model (to the next 32) for swiglu."""
    position: Literal["rope", "learned"] = "rope"
    """Rotary (Su 2021) or learned absolute positions."""
    rope_theta: float = Field(10_000.0, gt=1)
    """Base of the rotary frequencies."""
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    norm_epsilon: float = Field(1e-5, gt=0, lt=1)
    """Added to the mean square or variance that a norm divides by; 1e-5 as in GPT-2 and Llama."""
    qk_norm: bool = True
    """RMS-normalise queries and keys per head (Henry 2020)."""
    bias: bool = False
    """Biases in linear layers and LayerNorm."""
    tie_embeddings: bool = True
    """The token embedding is the output matrix as well (Press 2017)."""
    scale_embeddings: bool = True
    """Multiply token embeddings by d_model / sqrt(reference_width) (after Vaswani 2017), so that words stay visible."""
    initialisation: Literal["mimetic", "gpt2"] = "mimetic"
    """mimetic (after Trockman 2023): attention begins by handing on what it sees; gpt2: all normal (Radford 2019)."""
    dropout: float = Field(0.0, ge=0, lt=1, json_schema_extra=open_to_choice)
    """Of the embeddings and of what each block adds; attention weights are many, and dropping them slows CPUs down."""


class OptimizerConfig(Section):
    """How gradients become updates."""

    name: Literal["muon", "adamw"] = "muon"
    """muon (Jordan 2024) trains the matrices of the blocks and AdamW the rest; adamw trains everything."""
    learning_rate: float = Field(0.02, gt=0, le=10)
    """Peak learning rate of the optimizer in `name`."""
    residual_fraction: float = Field(0.1, gt=0, le=10, json_schema_extra=open_to_choice)
    """With muon: learning rate of what writes into the residual stream (o_proj, down_proj), as a share of that."""
    adamw_learning_rate: float = Field(0.003, gt=0, le=10)
    """With muon: AdamW's peak learning rate for embeddings, norms and biases."""
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.99, ge=0, lt=1)
    epsilon: float = Field(1e-10, ge=1e-30)
    weight_decay: float = Field(0.0, ge=0, le=10)
    """Decoupled decay of the matrices (not of embeddings, norms and biases), times the learning rate."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Of Muon (Nesterov)."""
    muon_beta2: float | None = Field(0.95, ge=0, lt=1)
    """With muon: memory of how large the rows or columns of a matrix's updates have been, which are brought to one size
    (Li 2025, 'NorMuon'); null leaves them as they are."""
    newton_schulz_steps: int = Field(5, ge=1, le=20)
    """Iterations with which Muon orthogonalises an update."""
    muon_interval: int = Field(3, ge=1, le=100)
    """With muon: steps from one update of a matrix to its next. Matrices take turns, and go as many times as far."""


class ScheduleConfig(Section):
    """The learning rate over a run: warm-up, constant, cool-down (Hu 2024)."""

    warmup_steps: int = Field(20, ge=0, le=10**12)
    cooldown_fraction: Fraction = 0.5
    """Last share of the run in which the learning rate falls."""
    cooldown_shape: Literal["linear", "cosine"] = "linear"
    final_fraction: Fraction = 0.0
    """Learning rate at the end as a share of the peak."""


class TrainingConfig(Section):
    """How long, how much at once, how often."""

    batch_size: int = Field(16, ge=1, le=10**6, json_schema_extra=open_to_choice)
    """Sequences per micro-batch, over all processes."""
    gradient_accumulation_steps: int = Field(1, ge=1, le=10**6)
    """Micro-batches per step."""
    max_steps: int | None = Field(None, ge=1, le=10**12, json_schema_extra=open_to_choice)
    """Stop after so many steps: the reproducible way."""
    max_minutes: float | None = Field(None, gt=0, le=10**7)
    """Stop after so much training time, compiling and evaluating included; the schedule follows the clock."""
    evaluate_every: int = Field(250, ge=1, le=10**12)
    """Steps between evaluations (each with a checkpoint and a sample)."""
    evaluation_tokens: int = Field(32_768, ge=1, le=10**12)
    """Evaluate on so many tokens of the validation text, always the same ones."""
    checkpoint_every: int = Field(250, ge=1, le=10**12)
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(8, ge=0, le=1000)
    """Checkpoints whose weights stay to the end, evenly spread over the run, to see how the model came about."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many evaluations without a new best loss."""
    gradient_clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient."""
    init_from: Place | None = None
    """A run, imported or trained here, whose weights, shape and tokenizer this one begins with."""
    init_checkpoint: str = "best"
    """Its checkpoint: best, last or a step that was kept."""
    init_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Expected SHA-256 of the checkpoint's weights; a run's own config.yaml has it."""


class SamplingConfig(Section):
    """How `minigpt sample` picks the next token, unless told otherwise on the command line."""

    prompt: str = ""
    """Text to continue; the empty text begins a new document."""
    begin_document: Literal["auto", True, False] = "auto"
    """Whether end-of-text goes before the prompt, as before a document; auto: where documents fit in the context."""
    max_new_tokens: int = Field(200, ge=1, le=10**12)
    temperature: float = Field(0.8, ge=0, le=100)
    """0 always takes the most probable token."""
    top_k: int | None = Field(None, ge=1)
    """Keep only the k most probable tokens."""
    top_p: float | None = Field(None, gt=0, le=1)
    """Keep the smallest set of tokens whose probability reaches p (Holtzman 2019)."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Keep tokens at least p times as probable as the most probable one (Nguyen 2024)."""
    repetition_penalty: float = Field(1.0, ge=1, le=100)
    """Divide the positive logits of tokens already in the text by this, multiply the negative ones (Keskar 2019)."""
    precision: Literal["int8", "bfloat16", "float32"] | None = None
    """Precision of the matmuls in sampling; null: float32 where run.precision is float32, else int8. int8 takes a CPU
    with a C++ compiler (g++, clang++ or what CXX names); elsewhere it is the fastest precision there."""


class Config(OpenRecipe):
    """A whole recipe; a YAML file holds what differs from these defaults."""

    PLACEHOLDERS: ClassVar = {"model.d_model": lambda tree: nearest_width(64, tree["model"])}

    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    training: TrainingConfig = TrainingConfig()
    sampling: SamplingConfig = Field(default=SamplingConfig(), validate_default=True)

    @field_validator("sampling")
    @classmethod
    def settle_precision(cls, sampling: SamplingConfig, info: ValidationInfo) -> SamplingConfig:
        """Before training puts what came out of `auto` into `run.precision`, so that float32 there is a wish."""
        if sampling.precision is not None or "run" not in info.data:
            return sampling
        exact = info.data["run"].precision == "float32"
        return sampling.model_copy(update={"precision": "float32" if exact else "int8"})

    @model_validator(mode="after")
    def check_end(self) -> Self:
        """A training must have an end."""
        if self.training.max_steps is None and self.training.max_minutes is None and self.data.source is not None:
            raise ValueError("set training.max_steps or training.max_minutes, so that the run has an end")
        return self
