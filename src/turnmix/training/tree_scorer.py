"""A model in this process scores: a local teacher the student's tokens, or the student the teacher's labels.

In: the token tree of each trajectory. Out: log π of its target tokens, and whether each is the likeliest; or, of two
models, how far they are from each other at each of them.

The same trees as in training, so shared prefixes are read once. Each trajectory is scored alone: its scores do
not depend on which others are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from turnmix.core.usage import Usage
from turnmix.policies.scoring import Keep, ScoreRequest, known_logprob
from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.loss import label_divergences, label_logprobs
from turnmix.training.out_of_memory import told_where_memory_ends
from turnmix.training.tree import RenderedTransition, TokenTree, build_tree, split_to_budget

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class TokenScore:
    """What a model says of one token, given those before it."""

    logprob: float | None
    """At temperature 1; None: it is no number."""
    is_likeliest: bool


class TreeScorer:
    """Scores with `model`, over the first `vocabulary` tokens, in passes of about `tokens_per_pass` rows."""

    def __init__(
        self, model: Any, *, vocabulary: int, tokens_per_pass: int, section: str = "teacher"
    ) -> None:
        """`section`: of the recipe, which says how the model is loaded."""
        self._model = model
        self._vocabulary = vocabulary
        self._tokens_per_pass = tokens_per_pass
        self._section = section

    @property
    def usage(self) -> Usage:
        return Usage()

    def score(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        for trajectory_id, paths in self.judged(requests):
            keep(trajectory_id, [[token.logprob for token in path] for path in paths])

    def judged(self, requests: Iterable[ScoreRequest]) -> Iterator[tuple[str, list[list[TokenScore]]]]:
        """The id of each trajectory and, for each of its paths, what is said of each target token."""
        with torch.no_grad(), tree_attention_in(self._model):
            for request in requests:
                told = partial(_no_memory, self._section, self._model.device)
                found = _by_path(request, self._scores, budget=self._tokens_per_pass, told=told)
                yield request.trajectory_id, found

    def _scores(self, tree: TokenTree, ids_L: Tensor, rows_L: Tensor) -> list[TokenScore]:
        hidden_ND, head = _hidden(self._model, tree)
        device = hidden_ND.device
        found = label_logprobs(
            hidden_ND, head, rows_L.to(device), ids_L.to(device), vocabulary=self._vocabulary
        )
        logprobs, are_likeliest = (each.tolist() for each in found)
        return [
            TokenScore(known_logprob(logprob), is_likeliest)
            for logprob, is_likeliest in zip(logprobs, are_likeliest, strict=True)
        ]


class TreeDivergence:
    """How far `model` is from `other` where its tokens are predicted: KL(model‖other), exact over the vocabulary."""

    def __init__(self, model: Any, other: Any, *, vocabulary: int, tokens_per_pass: int) -> None:
        self._model = model
        self._other = other
        self._vocabulary = vocabulary
        self._tokens_per_pass = tokens_per_pass

    def divergences(self, requests: Iterable[ScoreRequest]) -> Iterator[tuple[str, list[list[float]]]]:
        """The id of each trajectory and, for each of its paths, the divergence in nats at each target token."""
        with torch.no_grad(), tree_attention_in(self._model), tree_attention_in(self._other):
            for request in requests:
                told = partial(_no_memory, "teacher", self._other.device)
                found = _by_path(request, self._found, budget=self._tokens_per_pass, told=told)
                yield request.trajectory_id, found

    def _found(self, tree: TokenTree, ids_L: Tensor, rows_L: Tensor) -> list[float]:
        hidden_ND, head = _hidden(self._model, tree)
        other_ND, other_head = _hidden(self._other, tree)
        device = hidden_ND.device
        found: list[float] = label_divergences(
            hidden_ND, head, other_ND.to(device), other_head, rows_L.to(device), vocabulary=self._vocabulary
        ).tolist()
        return found


def _hidden(model: Any, tree: TokenTree) -> tuple[Tensor, Any]:
    """The hidden states of a tree's rows, and the head behind them."""
    hidden_ND = tree_hidden_states(model, batch_trees([tree], model.device))
    return hidden_ND, model.get_output_embeddings()


def _by_path(
    request: ScoreRequest,
    found_in: Callable[[TokenTree, Tensor, Tensor], list[Found]],
    *,
    budget: int,
    told: Callable[[int, int], str],
) -> list[list[Found]]:
    """What is found at the target tokens of each path. `found_in` a tree, at the rows behind which its target tokens,
    path by path, stand. `told`: what is said where memory ends, of the rows of a tree and of its longest path."""
    paths = [
        RenderedTransition(
            prompt_ids=path.prompt_ids, target_ids=path.target_ids, group=request.trajectory_id
        )
        for path in request.paths
    ]
    if not paths:
        return []
    places = {id(path): place for place, path in enumerate(paths)}
    scores: list[list[Found]] = [[] for _ in paths]
    for lot in split_to_budget(paths, budget):
        tree = build_tree(lot)
        rows_L = torch.from_numpy(np.concatenate(tree.target_rows))
        ids_L = torch.tensor([token for path in lot for token in path.target_ids])
        with told_where_memory_ends(partial(told, len(tree), tree.longest_path)):
            found = iter(found_in(tree, ids_L, rows_L))
        for path in lot:
            scores[places[id(path)]] = [next(found) for _ in path.target_ids]
    return scores


def _no_memory(section: str, device: Any, rows: int, longest: int) -> str:
    return (
        f"scoring: {device} has no memory left for the {section}'s pass of {rows:,} rows; set "
        f"{section}.dtype=bfloat16, or learner.max_context below {longest + 1}, which leaves longer transitions out"
    )
