"""Text to token ids, cached between special tokens: a conversation is mostly the one of the turn before.

In: rendered text. Out: exactly the ids that the tokenizer gives for all of it, but that text which only spells a
control token stays text where the tokenizer can write it so. A plain special token cuts the text before the
tokenizer's model sees it, so the pieces between such tokens can be tokenised apart. Where a tokenizer has other kinds
of added tokens, or looks across pieces, the whole text is tokenised instead. Such a tokenizer may begin a text of its
own with a space (Metaspace: Llama 2): what stands behind other text is tokenised behind it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

from turnmix.core.json_text import json_text, json_value
from turnmix.core.recent_cache import RecentCache
from turnmix.rendering.control_text import RenderedText
from turnmix.rendering.vocabulary import vocabulary_size

_CACHED_CHARACTERS = 1 << 24
_CHARACTERS_PER_TURN = 100
"""As much as its entry takes beside its text."""
_SHORT = 40
_CACHED_SHORT = 1024
"""Line ends and roles stand between all turns."""
_CACHED_CONTEXTS = 16
_ANY_LINE = "\n"
"""What stands before a text that is not the first."""
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
        self._tokenizer = tokenizer
        # A copy: whoever else tokenises with padding or truncation leaves them switched on in the original.
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_padding()
        self._backend.no_truncation()
        self._encode_cached = lru_cache(maxsize=_CACHED_SHORT)(self._encode)
        self._turns = RecentCache[str, tuple[int, ...]](most=_CACHED_CHARACTERS)
        self._numbers = list(range(vocabulary_size(tokenizer)))
        """One object a token: what is cached of long conversations shares them."""
        self.added_tokens: dict[str, int] = {
            token.content: index for index, token in tokenizer.added_tokens_decoder.items()
        }
        cuts = [
            token.content
            for token in tokenizer.added_tokens_decoder.values()
            if token.special and not any(_hides(other, token.content) for other in self.added_tokens)
        ]
        self._puts_space = lru_cache(maxsize=_CACHED_CONTEXTS)(self._find_space)
        self._literals: dict[str, tuple[int, ...] | None] = {}
        self._added = re.compile("|".join(map(re.escape, self.added_tokens)) or "(?!)")
        self._cuts = frozenset(cuts)
        self._cut = re.compile("|".join(map(re.escape, cuts)) or "(?!)")
        self._seam: str | None = None
        self.is_segmented = all(
            not (token.lstrip or token.rstrip or token.single_word or token.normalized)
            for token in tokenizer.added_tokens_decoder.values()
        ) and _treats_pieces_alone(json_value(self._backend.to_str()))

    def split_at(self, token: str) -> None:
        """Keep the tokens of what stands between two of this token, where the tokenizer reads it wherever it stands."""
        self._seam = token if token in self._cuts else None

    def cuts_at(self, token: str) -> bool:
        """Is what stands behind this token tokenised alike, whatever stands before it?"""
        return self.is_segmented and self._seam == token

    def ids(self, text: str | RenderedText) -> list[int]:
        """The token ids of a text from its beginning on; special tokens are read where they stand, none is added."""
        return self._ids(text, behind="")

    def ids_behind(self, before: str, text: str | RenderedText) -> list[int]:
        """The token ids of a text as it stands behind `before`."""
        return self._ids(text, behind=before)

    def decoded_behind(self, before: str, token_ids: Sequence[int], *, beginning: str = "") -> str:
        """What `token_ids` spell behind `before`, less a space that the tokenizer puts of its own. `beginning`: the
        space with which texts there begin."""
        if self.is_segmented:
            return self._decode(token_ids)
        context = self._context(before)
        context_ids = list(self._encode(context))
        start = self._decode(context_ids)
        whole = self._decode([*context_ids, *token_ids])
        if not whole.startswith(start):
            return self._decode(token_ids)
        text = whole[len(start) :]
        return text[1:] if text.startswith(" ") and self._puts_space(context, beginning) else text

    def literal_ids(self, token: str) -> tuple[int, ...] | None:
        """The ids of the text that spells a control token, none of them a control token; None: the tokenizer has
        no other way to write it."""
        if token not in self._literals:
            self._literals[token] = self._find_literal(token)
        return self._literals[token]

    def _ids(self, text: str | RenderedText, *, behind: str) -> list[int]:
        pieces = [(text, False)] if isinstance(text, str) else text.pieces()
        ids: list[int] = []
        for piece, is_literal in pieces:
            spelled = self.literal_ids(piece) if is_literal else None
            if spelled is not None:
                ids += spelled
            elif self.is_segmented:
                ids += self._segmented_ids(piece)
            elif ids:
                ids += self._ids_in_context(_ANY_LINE, piece)
            elif behind:
                ids += self._ids_in_context(self._context(behind), piece)
            else:
                ids += self._encode(piece)
        return ids

    def _segmented_ids(self, text: str) -> list[int]:
        if self._seam is None:
            return list(self._turn_ids(text))
        ids: list[int] = []
        seam, known = self.added_tokens[self._seam], self._turns.get
        for turn in text.split(self._seam):
            ids += known(turn) or self._turn_ids(turn)
            ids.append(seam)
        ids.pop()
        return ids

    def _turn_ids(self, text: str) -> tuple[int, ...]:
        found = self._turns.get(text)
        if found is None:
            found = tuple(map(self._numbers.__getitem__, self._cut_ids(text)))
            self._turns.put(text, found, size=len(text) + _CHARACTERS_PER_TURN)
        return found

    def _cut_ids(self, text: str) -> list[int]:
        ids: list[int] = []
        position = 0
        for match in self._cut.finditer(text):
            if match.start() > position:
                ids += self._between(text[position : match.start()])
            ids.append(self.added_tokens[match[0]])
            position = match.end()
        if position < len(text):
            ids += self._between(text[position:])
        return ids

    def _between(self, text: str) -> tuple[int, ...]:
        return self._encode_cached(text) if len(text) <= _SHORT else self._encode(text)

    def _context(self, before: str) -> str:
        """The end of `before` that bears on how what follows is tokenised."""
        last = max((match.start() for match in self._added.finditer(before)), default=0)
        return before[last:]

    def _ids_in_context(self, context: str, text: str) -> tuple[int, ...]:
        for each in (context, _ANY_LINE):
            before = self._encode(each)
            whole = self._encode(each + text)
            if whole[: len(before)] == before:
                return whole[len(before) :]
        return self._encode(text)

    def _find_space(self, context: str, beginning: str) -> bool:
        """Does the tokenizer put a space of its own behind `context`, before a text that begins so?"""
        before = list(self._encode(context))
        whole = self._decode([*before, *self._ids_in_context(context, f"{beginning}a")])
        return whole == f"{self._decode(before)} {beginning}a"

    def _find_literal(self, token: str) -> tuple[int, ...] | None:
        context = self._plain.encode(_ANY_LINE, add_special_tokens=False).ids
        whole = self._plain.encode(_ANY_LINE + token, add_special_tokens=False).ids
        ids = tuple(whole[len(context) :])
        is_plain = whole[: len(context)] == context and not set(ids) & set(self.added_tokens.values())
        return ids if is_plain and self._decode(whole) == self._decode(context) + token else None

    @cached_property
    def _plain(self) -> Any:
        """The tokenizer without its added tokens."""
        description = json_value(self._backend.to_str())
        return type(self._backend).from_str(json_text({**description, "added_tokens": []}))

    def _decode(self, token_ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def _encode(self, text: str) -> tuple[int, ...]:
        # A batch of one: it leaves out where in the text each token stands, which nobody asks.
        return tuple(self._backend.encode_batch_fast([text], add_special_tokens=False)[0].ids)


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
