"""Text that looks like what a coding agent reads, and a student's renderer for it, made here without a network.

The text is the source of Python's own library. The tokenizer is trained on it as Qwen's was on the world, and may
be given a vocabulary as large, most of it unused. The template behaves as Qwen3-4B-Instruct-2507's does.
"""

import functools
import json
import random
import sys
import sysconfig
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from turnmix.rendering.renderer import Renderer

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from qwen3_templates import INSTRUCT

# How Qwen's tokenizer cuts text before it merges bytes.
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CONTROL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
SLICE = 400


@functools.cache
def library():
    """Some five million characters."""
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = "".join(path.read_text(encoding="utf-8", errors="ignore") for path in paths)
    return text.replace("[args]", "[arguments]")  # a mark of calls, so a label that holds it is not taught


def words(generator: random.Random, characters):
    """So many characters, of places drawn from the library; they begin with none that a tokenizer joins to what
    stands before."""
    text = library()
    starts = (generator.randrange(len(text) - SLICE) for _ in range(0, characters, SLICE))
    return ("x" + "".join(text[start : start + SLICE] for start in starts))[:characters]


def make_tokenizer(*, merged, vocabulary):
    """A byte-level tokenizer of `vocabulary` tokens, `merged` of which occur. Some seconds of one core."""
    text = library()
    tokenizer = Tokenizer(models.BPE())
    cuts = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cuts, as_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=merged, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(
        [text[start : start + 4000] for start in range(0, len(text), 4000)], trainer
    )
    written = json.loads(tokenizer.to_str())
    known = written["model"]["vocab"]
    known |= {f"unused {number}": number for number in range(len(known), vocabulary - len(CONTROL_TOKENS))}
    tokenizer = Tokenizer.from_str(json.dumps(written))
    tokenizer.add_special_tokens(CONTROL_TOKENS)
    return tokenizer


def make_renderer(tokenizer):
    """One that has rendered nothing yet."""
    return Renderer(
        PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            chat_template=INSTRUCT,
            eos_token="<|im_end|>",
            pad_token="<|endoftext|>",
        )
    )
