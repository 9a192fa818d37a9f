"""Which models train exactly on trees, and which are refused by name: each made here from its configuration."""

import pytest
import torch
import transformers
from tiny_student import SIZES

from tree_oracle import separate_losses
from turnmix.core.errors import UserError
from turnmix.training.architecture import check_architecture
from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.objective import Objective
from turnmix.training.tree import RenderedTransition, build_tree

EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}
LATENT = {"q_lora_rank": None, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8}
FULL = {"layer_types": ["full_attention"] * 2}


def make(name, **changes):
    """A model of a few thousand parameters; all are wide enough to tell rounding from another attention."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")
    sizes = {**SIZES, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1, **changes}
    cls = getattr(transformers, f"{name.removesuffix('Text')}ForCausalLM", None)
    return (cls or getattr(transformers, f"{name}LMHeadModel"))(config(**sizes)).eval()


ACCEPTED = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "Qwen3Moe": {**EXPERTS, "num_experts": 4, "head_dim": 8},  # as Qwen3-Coder
    "Mistral": {"sliding_window": None},
    "DeepseekV3": {
        **EXPERTS,
        **LATENT,
        "v_head_dim": 4,  # narrower than the keys
        "num_key_value_heads": 4,
        "n_routed_experts": 4,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    },
    "GPT2": {},
    "Gemma": {"head_dim": 8},
    "Phi3": {},
    "Olmo2": {},
}


def gradients_differ_by(model):
    """The relative L2 difference between a forked tree's gradient and that of its transitions one by one."""

    def transition(prompt, target):
        return RenderedTransition(prompt_ids=prompt, target_ids=target, group="a")

    items = [
        transition((5, 6, 7), (8, 9)),
        transition((5, 6, 7, 3, 4), (8, 8, 2)),
        transition((5, 6, 7, 3, 2), (7,)),
    ]
    batch = batch_trees([build_tree(items)])
    with tree_attention_in(model):
        hidden = tree_hidden_states(model, batch)
    gradients = []
    for loss in (
        Objective().terms(hidden, model.get_output_embeddings(), batch)[0],
        sum(separate_losses(model, items)),
    ):
        model.zero_grad()
        loss.backward()
        found = [each.grad.flatten() for each in model.parameters() if each.grad is not None]
        gradients.append(torch.cat(found))
    return (gradients[0] - gradients[1]).norm() / gradients[1].norm()


@pytest.mark.parametrize("name", ACCEPTED)
def test_a_model_of_full_attention_is_accepted_and_trains_exactly(name):
    model = make(name, **ACCEPTED[name])
    check_architecture(model)
    assert gradients_differ_by(model) <= 2e-6


UP_TO_THE_RELEASE = {
    "GPTJ": {"rotary_dim": 8},
    "GPTNeoX": {},
    "CodeGen": {"rotary_dim": 8, "n_head": 4, "n_embd": 32, "n_layer": 2, "n_ctx": 64, "n_positions": 64},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "Bloom": {},
}
"""Whose code looks up its attention in some releases of transformers, and not in others."""


@pytest.mark.parametrize("name", UP_TO_THE_RELEASE)
def test_whatever_the_release_a_model_trains_exactly_or_is_refused_by_name(name):
    model = make(name, **UP_TO_THE_RELEASE[name])
    try:
        check_architecture(model)
    except UserError as error:
        assert repr(model.config.model_type) in str(error)  # noqa: PT017
    else:
        assert gradients_differ_by(model) <= 2e-6


REFUSED = {
    "Qwen3-Next": ("Qwen3Next", {**EXPERTS, "num_experts": 4}, "'qwen3_next' .* linear_attention"),
    "Qwen3.5": ("Qwen3_5Text", {}, "'qwen3_5_text' .* linear_attention"),
    "gpt-oss": ("GptOss", {"num_local_experts": 4}, "'gpt_oss' .* sliding_attention"),
    "gpt-oss without windows": ("GptOss", {"num_local_experts": 4, **FULL}, "its attention has sinks"),
    "Mistral 7B": ("Mistral", {"sliding_window": 16}, "'mistral' .* sliding_window=16"),
    "Gemma 2": ("Gemma2", {}, "'gemma2' .* sliding_attention"),
    "Gemma 2 without windows": ("Gemma2", FULL, r"scores are capped \(attn_logit_softcapping=50"),
    "Gemma 2, capped logits": (
        "Gemma2",
        {**FULL, "attn_logit_softcapping": None},
        r"logits are capped \(final_logit_softcapping=30",
    ),
    "Gemma 3": ("Gemma3Text", {}, "'gemma3_text' .* sliding_attention"),
    "Llama 4": ("Llama4Text", {"num_local_experts": 2}, "'llama4_text' .* chunked_attention"),
    "Jamba": ("Jamba", {"mamba_d_state": 4}, "recurrent layers|linear_attention"),
    "Mamba": ("Mamba", {}, "recurrent layers|linear_attention"),
    "dynamic RoPE": (
        "Llama",
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
        "depend on the length of the sequence .rope_type=dynamic",
    ),
    "Granite": ("Granite", {"logits_scaling": 8.0}, "gives other logits on a token tree"),
    "Cohere": ("Cohere", {}, "gives other logits on a token tree"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_exact_is_refused_by_name(case):
    name, changes, message = REFUSED[case]
    if not hasattr(transformers, f"{name}Config"):
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    with pytest.raises(UserError, match=message):
        check_architecture(make(name, **changes))


def test_a_model_that_asks_its_attention_for_more_is_refused_when_it_asks():
    """Whatever its configuration calls it: here the check by name is left out."""
    batch = batch_trees([build_tree([RenderedTransition(prompt_ids=(1, 2), target_ids=(3,), group="a")])])
    model = make("Gemma2", **FULL)
    with tree_attention_in(model), pytest.raises(UserError, match="Gemma2Attention asks for capped scores"):
        tree_hidden_states(model, batch)
