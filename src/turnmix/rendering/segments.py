"""Text to token ids, cached between special tokens: a conversation is mostly the one of the turn before.

In: rendered text. Out: exactly the ids that the tokenizer gives for all of it. A plain special token cuts the
text before the tokenizer's model sees it, so the pieces between such tokens can be tokenised apart. Where
a tokenizer has other kinds of added tokens, or looks across pieces, the whole text is tokenised instead.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_CACHED_SEGMENTS = 16_384
_LOCAL_NORMALIZERS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase"}
_LOCAL_PRE_TOKENIZERS = {
    "Split",
    "Digits",
    "Punctuation",
    "Whitespace",
    "WhitespaceSplit",
    "BertPreTokenizer",
}


class SegmentTokenizer:
    """Tokenises rendered text with any Hugging Face fast tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        # A copy: whoever else tokenises with padding or truncation leaves them switched on in the original.
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_padding()
        self._backend.no_truncation()
        self._encode_cached = lru_cache(maxsize=_CACHED_SEGMENTS)(self._encode)
        self.added_tokens: dict[str, int] = {
            token.content: index for index, token in tokenizer.added_tokens_decoder.items()
        }
        cuts = [
            token.content
            for token in tokenizer.added_tokens_decoder.values()
            if token.special and not any(_hides(other, token.content) for other in self.added_tokens)
        ]
        self._cut = re.compile("|".join(map(re.escape, cuts)) or "(?!)")
        self.is_segmented = all(
            not (token.lstrip or token.rstrip or token.single_word or token.normalized)
            for token in tokenizer.added_tokens_decoder.values()
        ) and _treats_pieces_alone(json.loads(self._backend.to_str()))

    def ids(self, text: str) -> list[int]:
        """The token ids of `text`; special tokens are read where they stand, none is added."""
        if not self.is_segmented:
            return list(self._encode(text))
        ids: list[int] = []
        position = 0
        for match in self._cut.finditer(text):
            if match.start() > position:
                ids += self._encode_cached(text[position : match.start()])
            ids.append(self.added_tokens[match[0]])
            position = match.end()
        if position < len(text):
            ids += self._encode_cached(text[position:])
        return ids

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self._backend.encode(text, add_special_tokens=False).ids)


def _hides(other: str, token: str) -> bool:
    """Whether the tokenizer, which takes the leftmost and longest added token, may find `other` over `token`.

    >>> _hides("a <|", "<|end|>"), _hides("<|end|> ", "<|end|>"), _hides("|end", "<|end|>")
    (True, True, False)
    """
    if other == token:
        return False
    return token in other or any(other.endswith(token[:length]) for length in range(1, len(token)))


def _treats_pieces_alone(description: dict[str, Any]) -> bool:
    """Whether a piece between added tokens is tokenised without a look at where it stands in the text."""
    normalizers = _parts(description["normalizer"], "normalizers")
    if any(part["type"] not in _LOCAL_NORMALIZERS for part in normalizers):
        return False
    for part in _parts(description["pre_tokenizer"], "pretokenizers"):
        if part["type"] == "ByteLevel":
            if part["add_prefix_space"]:
                return False
        elif part["type"] not in _LOCAL_PRE_TOKENIZERS:
            return False
    return True


def _parts(description: dict[str, Any] | None, key: str) -> Iterator[dict[str, Any]]:
    if description is None:
        return
    if description["type"] == "Sequence":
        for part in description[key]:
            yield from _parts(part, key)
    else:
        yield description
