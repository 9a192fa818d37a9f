"""Tokenising between special tokens is tokenising the whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat_models import make_tokenizer
from turnmix.rendering.segments import SegmentTokenizer

# `<tool_call` is a token too, and with `overlaps` also `add <|im_s`: the leftmost, longest match has to win.
SPECIAL = ("<|im_start|>", "<|im_end|>", "<tool_call>", "<tool_call", "</tool_call>", "<think>")
texts = st.lists(
    st.one_of(
        st.sampled_from(SPECIAL), st.sampled_from(("<|im", "|>", " ", "\n", "e\u0301", "def add ")), st.text()
    ),
    max_size=12,
).map("".join)


@pytest.mark.parametrize("overlaps", [False, True])
@pytest.mark.parametrize("normalizes", [False, True])
@given(text=texts)
@settings(max_examples=200, deadline=None)
def test_segments_give_the_ids_of_the_whole_text(normalizes, overlaps, text):
    tokenizer = make_tokenizer(normalizes=normalizes, overlaps=overlaps)
    segments = SegmentTokenizer(tokenizer)
    assert segments.is_segmented
    assert segments.ids(text) == tokenizer(text, add_special_tokens=False).input_ids
