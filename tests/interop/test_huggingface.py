"""To Transformers and back: the same logits, texts and ids; what cannot be carried over is named."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from conftest import minigpt, random_model
from safetensors.torch import load_file, save_file

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.errors import UserError
from minigpt.generation.generate import generate
from minigpt.interop.card import card
from minigpt.interop.export import export_run
from minigpt.interop.huggingface import settings, their_weights, to_transformers
from minigpt.interop.huggingface_import import read_folder, read_sampling
from minigpt.interop.imported import parameter_shapes, write_run
from minigpt.model.gpt import GPT
from minigpt.runs import Run, RunFolder, load_run
from minigpt.training.metrics import read_metrics

GPT2 = {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"n_kv_heads": 2, "norm_epsilon": 0.1},
    "wide heads": {"d_head": 16, "rope_theta": 500.0},
    "llama": {"n_kv_heads": 2, "qk_norm": False},
    "llama with biases": {"qk_norm": False, "bias": True},
    "gpt2": GPT2 | {"norm_epsilon": 0.1},
    "gpt2 with biases": GPT2 | {"bias": True, "d_ff": 48},
}
TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        made = model.float()(TOKENS)
    return made if isinstance(made, torch.Tensor) else made.logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_weights_give_the_same_logits_in_transformers(family: str, scaled: bool, tied: bool) -> None:
    """Scaled embeddings are another matrix than the output; without the scale a tied one is one and the same."""
    model = random_model(**FAMILIES[family], scale_embeddings=scaled, tie_embeddings=tied)
    reference = to_transformers(model)
    assert reference.config.tie_word_embeddings == (tied and not scaled)
    torch.testing.assert_close(logits(model), logits(reference), rtol=1e-4, atol=1e-4)


def test_older_and_newer_versions_are_told_how_positions_turn() -> None:
    told = settings(random_model(rope_theta=500.0).config)
    assert told["rope_theta"] == told["rope_parameters"]["rope_theta"] == 500


@pytest.mark.parametrize(
    ("key", "value"),
    [("norm", "layernorm"), ("feed_forward", "gelu"), ("bias", True), ("position", "learned")],
)
def test_a_setting_that_no_family_has_is_named(key: str, value: Any) -> None:
    with pytest.raises(UserError, match="model.norm = rmsnorm" if key == "position" else f"model.{key} = {value}"):
        to_transformers(random_model(**{key: value}))


def test_gpt2_with_grouped_queries_is_refused() -> None:
    with pytest.raises(UserError, match="n_kv_heads = 2"):
        to_transformers(random_model(**GPT2, n_kv_heads=2))


# A whole folder.


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "tiny"
    done = minigpt("export", run, "--output", folder, cwd=run.parents[1])
    assert done.returncode == 0, done.stderr
    assert "f32" in done.stdout
    return folder


@pytest.fixture(scope="module")
def imported(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("imported") / "back"
    done = minigpt("import", exported, "--output", run, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    return run


def test_transformers_opens_the_folder_and_writes_the_same(exported: Path, run: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    model = transformers.AutoModelForCausalLM.from_pretrained(exported)
    ours = load_run(run)
    text = "Alice gave Bob <|endoftext|>, the zebra's"
    assert tokenizer(text).input_ids == ours.tokenizer.encode(text).tolist()
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    prompt = tokenizer("Alice gave", return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(model(prompt.input_ids).logits, ours.model(prompt.input_ids), rtol=1e-4, atol=1e-4)
    theirs = model.generate(**prompt, do_sample=False, max_new_tokens=20)[0, prompt.input_ids.shape[1] :].tolist()
    assert theirs == greedy(ours, prompt.input_ids[0].tolist(), 20)[: len(theirs)]
    settings = model.generation_config
    assert (settings.temperature, settings.top_k, settings.eos_token_id) == (0.8, 0, ours.tokenizer.end_of_text)


def greedy(run: Run, prompt: list[int], n_tokens: int) -> list[int]:
    config = SamplingConfig(temperature=0, max_new_tokens=n_tokens)
    steps = generate(run.model, prompt, config, end_of_text=run.tokenizer.end_of_text, seed=0)
    return [int(step.token_ids) for step in steps]


def test_the_card_tells_what_the_model_is(exported: Path, run: Path) -> None:
    card = (exported / "README.md").read_text()
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    step = load_run(run).step
    (loss,) = (line["validation_loss"] for line in metrics if line["step"] == step and "validation_loss" in line)
    for part in ("library_name: transformers", f"{loss:.4f} nats per token", "stories", f"step {step}", "n_layers: 2"):
        assert part in card


def test_the_card_has_the_figures_of_its_checkpoint(run: Path) -> None:
    losses = {line["step"]: line["validation_loss"] for line in read_metrics(RunFolder(run)) if "sample" in line}
    for step in (6, 12):
        assert f"| {losses[step]:.4f} nats per token |" in card(load_run(run, str(step)), "tiny", 1)


def test_what_comes_back_is_a_run_with_the_same_logits(imported: Path, run: Path) -> None:
    before, back = load_run(run), load_run(imported)
    tokens = torch.randint(before.tokenizer.vocab_size, (1, 32), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(back.model(tokens), before.model(tokens), rtol=1e-5, atol=1e-5)
    text = "Alice gave Bob her book. <|endoftext|>"
    prompts = [
        some.tokenizer.encode_prompt(text, some.config.sampling.begin_document is True) for some in (before, back)
    ]
    assert prompts[0] == prompts[1]


def test_an_imported_run_is_used_as_others_are(imported: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Alice gave Bob her book. " * 20)
    for words in (
        ["sample", imported, "--prompt", "Alice", "--max-new-tokens", 5],
        ["evaluate", imported, "--text", text],
        ["explain", imported, "--prompt", "Alice gave", "--output", tmp_path / "page.html"],
        ["tokenize", "Alice gave", "--tokenizer", imported],
        ["embeddings", imported, "queen"],
        ["export", imported, "--output", tmp_path / "again"],
    ):
        done = minigpt(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for words in (
        ["evaluate", imported],
        ["train", "--resume", imported],
        ["train", imported / "config.yaml", "run.name=x"],
    ):
        done = minigpt(*words, cwd=tmp_path)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr
        assert "imported" in done.stderr


def test_a_place_that_is_taken_and_a_format_that_is_none_are_refused(exported: Path, run: Path) -> None:
    for words, says in (
        (["--output", exported], "exists already"),
        (["--output", "x", "--format", "ggml"], "did you mean 'gguf'"),
        (["--output", "x", "--dtype", "q8_0"], "huggingface takes f32, f16"),
    ):
        done = minigpt("export", run, *words, cwd=exported.parent)
        assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    done = minigpt("import", exported, "--output", run, cwd=exported.parent)
    assert (done.returncode, "exists already" in done.stderr) == (2, True)


# Models of everybody else's, with the tokenizer of the exported folder.


def other_model(family: str) -> Any:
    """A randomly initialised model of Transformers, with biases that are not zero."""
    common = {"vocab_size": 1200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes = {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 32}
    config = {
        "gpt2": lambda: transformers.GPT2Config(vocab_size=1200, n_positions=32, n_embd=32, n_layer=2, n_head=4),
        "llama": lambda: transformers.LlamaConfig(**common, **sizes, attention_bias=True, tie_word_embeddings=True),
        "qwen2": lambda: transformers.Qwen2Config(**common, **sizes, rope_theta=1e6),
        "qwen3": lambda: transformers.Qwen3Config(**common, **sizes, head_dim=16),
    }[family]()
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.2)
    return model.eval()


@pytest.mark.parametrize("sharded", [True, False])
@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen2", "qwen3"])
def test_a_model_of_another_family_gives_the_same_logits(
    family: str, sharded: bool, exported: Path, tmp_path: Path
) -> None:
    theirs = other_model(family).to(torch.bfloat16 if sharded else torch.float32)
    folder = tmp_path / "theirs"
    theirs.save_pretrained(folder, max_shard_size="30KB" if sharded else "1GB")
    (folder / "tokenizer.json").write_bytes((exported / "tokenizer.json").read_bytes())
    edit(folder, eos_token_id=3)
    assert (len(list(folder.glob("*.safetensors"))) > 1) == sharded
    write_run(read_folder(folder), tmp_path / "run")
    ours = load_run(tmp_path / "run")
    torch.testing.assert_close(logits(ours.model), logits(theirs), rtol=1e-4, atol=1e-4)


def edit(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in {**document, **values}.items() if value != "gone"}))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "mamba"}, "model_type = 'mamba': minigpt can have models of gpt2, llama, qwen2, qwen3"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}}, "rope_type = llama3"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5"),
        ({"hidden_act": "gelu"}, "hidden_act = gelu"),
        ({"layer_types": ["sliding_attention"]}, "sliding_attention"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"hidden_size": "wide"}, "hidden_size = wide"),
        ({"num_attention_heads": 3}, "n_heads (3)"),
        ({"head_dim": 4}, "should have"),
        ({"num_hidden_layers": 1}, "layers.1."),
        ({"num_hidden_layers": 3}, "layers.2."),
        ({"vocab_size": 5}, "more tokens than the 5"),
        ({"eos_token_id": []}, "eos_token_id = []"),
        ({"eos_token_id": 10**6}, "not among"),
        ({"eos_token_id": True}, "eos_token_id"),
        ({"model_type": []}, "model_type = []"),
        ({"layer_types": 5}, "layer_types = 5"),
        ({"layer_types": ["a", 1]}, "layer_types"),
        ({"rope_parameters": [1]}, "rope_parameters = [1]"),
        ({"vocab_size": 10**7}, "should have"),
        ({"max_position_embeddings": 10**7}, "less than or equal"),
    ],
)
def test_what_a_folder_asks_for_in_vain_is_named(
    values: dict[str, Any], says: str, exported: Path, tmp_path: Path
) -> None:
    folder = copy(exported, tmp_path)
    edit(folder, **values)
    done = minigpt("import", folder, "--output", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def copy(folder: Path, place: Path) -> Path:
    made = place / "copy"
    made.mkdir()
    for path in folder.iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    return made


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "other"])
def test_a_damaged_folder_is_refused(name: str, damage: str, exported: Path, tmp_path: Path) -> None:
    folder = copy(exported, tmp_path)
    content = (folder / name).read_bytes()
    if damage == "gone":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes({"empty": b"", "half": content[: len(content) // 2], "other": b"{}"}[damage])
    done = minigpt("import", folder, "--output", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2
    assert name in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_pipe_is_not_waited_for(exported: Path, tmp_path: Path) -> None:
    folder = copy(exported, tmp_path)
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    with pytest.raises(UserError, match="is no file"):
        read_folder(folder)


def test_what_ends_a_text_and_how_it_is_sampled_come_along(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(exported, tmp_path)
    edit(folder, eos_token_id=[3, 4])
    generation = {"temperature": 0.3, "top_k": 0, "top_p": 0.9, "repetition_penalty": 1.5}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    write_run(read_folder(folder), tmp_path / "run")
    run = load_run(tmp_path / "run")
    assert run.tokenizer.end_of_text == 3
    assert "[3, 4]: minigpt ends a text at 3 only" in capsys.readouterr().err
    sampling = run.config.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.3, None, 0.9)
    assert sampling.repetition_penalty == 1.5
    assert read_sampling({**generation, "do_sample": False}, folder)["temperature"] == 0


def test_a_folder_without_weights_is_told_whether_it_has_others(exported: Path, tmp_path: Path) -> None:
    folder = copy(exported, tmp_path)
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: is not there; copy the folder again"):
        read_folder(folder)
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(UserError, match="other weights could run code; make it with transformers"):
        read_folder(folder)


def test_weights_that_are_no_numbers_or_too_large_are_refused(exported: Path, run: Path, tmp_path: Path) -> None:
    folder = copy(exported, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="no numbers"):
        write_run(read_folder(folder), tmp_path / "run")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 1e300, dtype=torch.float64)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match="no numbers in float32"):
        write_run(read_folder(folder), tmp_path / "run")
    weights["model.norm.weight"] = torch.ones(weights["model.norm.weight"].shape).to(torch.float8_e4m3fn)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    write_run(read_folder(folder), tmp_path / "run")
    assert (load_run(tmp_path / "run").model.final_norm.weight == 1).all()
    large = load_run(run)
    with torch.no_grad():
        large.model.final_norm.weight[0] = 1e6
    with pytest.raises(UserError, match="too large for f16"):
        export_run(large, tmp_path / "large", "huggingface", "f16")
    with torch.no_grad():
        large.model.final_norm.weight[0] = torch.inf
    for form in ("huggingface", "gguf"):
        with pytest.raises(UserError, match="diverged: take another with --checkpoint"):
            export_run(large, tmp_path / "large", form, "f32")


def test_a_tensor_that_minigpt_has_no_place_for_is_told(exported: Path, tmp_path: Path) -> None:
    folder = copy(exported, tmp_path)
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "model.adapter.weight": torch.zeros(2)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"model\.adapter\.weight"):
        read_folder(folder)
    constant = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(2)}
    save_file({**weights, **constant}, folder / "model.safetensors", {"format": "pt"})
    read_folder(folder)


def test_an_old_checkpoint_of_gpt2_has_shorter_names(exported: Path, tmp_path: Path) -> None:
    model = random_model(**GPT2, vocab_size=1200, scale_embeddings=False)
    folder = copy(exported, tmp_path)
    (folder / "config.json").write_text(json.dumps(settings(model.config) | {"eos_token_id": 3}))
    weights = {name.removeprefix("transformer."): tensor for name, tensor in their_weights(model).items()}
    save_file(weights | {"h.0.attn.bias": torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
    write_run(read_folder(folder), tmp_path / "run")
    torch.testing.assert_close(logits(load_run(tmp_path / "run").model), logits(model), rtol=1e-5, atol=1e-5)


def test_a_model_is_read_tensor_by_tensor(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No whole model is ever made: only shapes, which have no memory."""
    devices: list[torch.device] = []
    make = GPT.__init__

    def watched(self: GPT, config: Any) -> None:
        make(self, config)
        devices.append(self.lm_head.weight.device)

    parameter_shapes.cache_clear()
    monkeypatch.setattr(GPT, "__init__", watched)
    write_run(read_folder(exported), tmp_path / "run")
    assert devices
    assert {device.type for device in devices} == {"meta"}
