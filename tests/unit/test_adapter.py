"""LoRA: only its matrices learn, merged weights load with plain transformers, and a resumed run is exact."""

import random
import re

import pytest
import torch
from tiny_student import SIZES, CharacterRenderer, batch, digest, settings, tiny_model
from transformers import AutoModelForCausalLM, Qwen3Config, Qwen3ForCausalLM

from turnmix.core.errors import UserError
from turnmix.training.checkpoint import restore_learner, save_checkpoint
from turnmix.training.learner import Learner

peft = pytest.importorskip("peft", reason="LoRA needs the package peft: pip install 'turnmix[lora]'")

IDS = torch.tensor([[3, 1, 4, 1, 5]])


class NoTokenizer:
    """The character renderer needs none."""

    def save_pretrained(self, directory):
        pass


def learner_of(seed=0, **lora):
    return Learner(
        tiny_model(), CharacterRenderer(), settings(lora={"rank": 4, **lora}, learning_rate=1e-2), seed=seed
    )


def learned(directory):
    learner = learner_of()
    learner.fit(batch(), generator=random.Random(0))
    save_checkpoint(directory, model=learner.acting_model, tokenizer=NoTokenizer(), learner=learner)
    return learner


@torch.no_grad()
def logits(model):
    return model.eval()(input_ids=IDS).logits


def test_a_new_adapter_changes_nothing_and_a_trained_one_changes_itself_alone():
    learner, base = learner_of(), tiny_model()
    assert torch.equal(logits(learner.model), logits(base))
    learner.fit(batch(), generator=random.Random(0))
    assert not torch.allclose(logits(learner.model), logits(base), atol=1e-3)
    kept = {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in learner.model.state_dict().items()
        if ".lora_" not in name
    }
    assert all(torch.equal(kept[name], tensor) for name, tensor in base.state_dict().items())
    assert all(".lora_" in name for name in learner.state_dict()["optimizer"]["state"])


def test_the_adapter_begins_as_its_seed_says_and_leaves_other_draws_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    model = tiny_model()
    torch.manual_seed(5)
    learner = Learner(model, CharacterRenderer(), settings(lora={"rank": 4}))
    assert torch.equal(torch.rand(1), expected)
    assert digest(learner.model) == digest(learner_of().model) != digest(learner_of(seed=1).model)


def test_what_enters_the_matrices_of_a_bfloat16_pass_is_not_copied_into_float32():
    model, entered = tiny_model(), []
    learner = Learner(model, CharacterRenderer(), settings(dtype="bfloat16", lora={"rank": 4}))
    for name, module in model.named_modules():
        if name.endswith("down_proj.lora_A.default"):
            module.register_forward_pre_hook(lambda module, arguments: entered.append(arguments[0].dtype))
    learner.fit(batch(2), generator=random.Random(0))
    assert set(entered) == {torch.bfloat16}


def test_the_saved_model_loads_with_plain_transformers_and_its_adapter_with_peft(tmp_path):
    learner = learned(tmp_path / "one")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "one", dtype=torch.float32)
    assert type(merged).__name__ == "Qwen3ForCausalLM"
    assert torch.allclose(logits(merged), logits(learner.model), atol=1e-5)
    adapted = peft.PeftModel.from_pretrained(tiny_model(), tmp_path / "one" / "adapter")
    assert torch.equal(logits(adapted), logits(learner.model))


def test_a_resumed_run_ends_in_the_weights_of_an_uninterrupted_one(tmp_path):
    learner, resumed = learned(tmp_path / "one"), learner_of(seed=9)
    restore_learner(tmp_path / "one", resumed)
    assert digest(resumed.model) == digest(learner.model)
    for each in (learner, resumed):
        each.fit(batch(seed=2), generator=random.Random(2))
    assert digest(resumed.model) == digest(learner.model)


@pytest.mark.parametrize("content", [b"", b"not an adapter", None])
def test_a_damaged_or_missing_adapter_is_refused(tmp_path, content):
    learned(tmp_path / "one")
    path = tmp_path / "one" / "adapter" / "adapter_model.safetensors"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be loaded"):
        restore_learner(tmp_path / "one", learner_of())


@pytest.mark.parametrize("modules", [("lm_head",), ("embed_tokens",), ("q_proj", "lm_head")])
def test_a_matrix_that_the_model_ties_to_another_one_is_refused_by_name(modules):
    with pytest.raises(
        UserError, match=rf"learner.lora.target_modules: {modules[-1]}: the model ties .*leave it"
    ):
        learner_of(target_modules=modules)


@pytest.mark.parametrize("modules", [("lm_head",), ("embed_tokens",), ("q_proj", "lm_head", "embed_tokens")])
def test_head_and_embedding_that_are_not_tied_are_saved_as_they_act(tmp_path, modules):
    def untied():
        torch.manual_seed(0)
        return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=False))

    def made():
        lora = {"rank": 4, "target_modules": modules}
        return Learner(untied(), CharacterRenderer(), settings(lora=lora, learning_rate=1e-2))

    learner, resumed = made(), made()
    learner.fit(batch(), generator=random.Random(0))
    save_checkpoint(tmp_path / "one", model=learner.model, tokenizer=NoTokenizer(), learner=learner)
    acting = logits(learner.model)
    assert not torch.allclose(acting, logits(untied()), atol=1e-3)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "one", dtype=torch.float32)
    assert torch.allclose(logits(merged), acting, atol=1e-5)
    assert torch.equal(logits(peft.PeftModel.from_pretrained(untied(), tmp_path / "one" / "adapter")), acting)
    restore_learner(tmp_path / "one", resumed)
    assert digest(resumed.model) == digest(learner.model)


def test_target_modules_that_the_model_lacks_are_refused_with_those_it_has():
    with pytest.raises(UserError, match=re.escape("learner.lora.target_modules: query")) as refusal:
        learner_of(target_modules=("query",))
    assert "q_proj" in str(refusal.value)
