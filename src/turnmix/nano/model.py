"""The nano student's tokenizer and its untrained model.

The tokenizer keeps every word a unit of its own, whatever stands before it: words, single digits and runs of
punctuation never merge with each other, so a name has the same tokens in a docstring, in a path and in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

VOCABULARY_SIZE = 1280
CONTEXT = 8192
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
SPLIT = r"\\[ntr\"\\]|[A-Za-z]+|[0-9]|[^A-Za-z0-9\\]+|\\"
PROSE_SPLIT = r" ?[A-Za-z]+| ?[0-9]|[^A-Za-z0-9 ]+| +"
"""Of worlds that are told in words: a word and the space before it are one unit."""


def make_tokenizer(
    texts: Iterable[str], phrases: Sequence[str], *, split: str = SPLIT
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on `texts`, with a Qwen3-style chat template and Hermes tool calls.

    Each of `phrases` is one token; elsewhere none goes beyond what `split` matches.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE - len(MARKUP_TOKENS) - len(phrases),
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=False) for token in (*MARKUP_TOKENS, *phrases)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        clean_up_tokenization_spaces=False,
        model_max_length=CONTEXT,
    )
    fast.chat_template = files("turnmix.nano").joinpath("chat_template.jinja").read_text()
    return fast


def make_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Qwen3ForCausalLM:
    """An untrained Qwen3 of about one million parameters for this tokenizer."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        rope_theta=10_000.0,
        tie_word_embeddings=True,
        initializer_range=0.08,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    _look_back(model)
    return model


def _look_back(model: Qwen3ForCausalLM) -> None:
    """Begin with two heads of the first layer on the token before and the one before that.

    Copying needs such heads, and finding them is what takes a small model longest. Dimension 0 of every embedding
    is a constant, from which the two queries and their shared key are made: a query turned back by d positions
    meets the keys d positions earlier best. Only the fastest rotary frequencies tell neighbours apart.
    """
    import torch

    head_size, num_frequencies, sharpness = model.config.head_dim, 4, 1.8
    angles = 10_000.0 ** (-2 * torch.arange(num_frequencies) / head_size)
    first, second = slice(0, num_frequencies), slice(head_size // 2, head_size // 2 + num_frequencies)
    attention = model.model.layers[0].self_attn
    with torch.no_grad():
        model.model.embed_tokens.weight[:, 0] = 0.5
        attention.k_proj.weight[:head_size] = 0
        attention.k_proj.weight[first, 0] = 1
        for head, distance in enumerate((1, 2)):
            query = attention.q_proj.weight[head * head_size : (head + 1) * head_size]
            query.zero_()
            query[first, 0] = torch.cos(distance * angles)
            query[second, 0] = -torch.sin(distance * angles)
        attention.q_norm.weight.mul_(sharpness)
        attention.k_norm.weight.mul_(sharpness)
