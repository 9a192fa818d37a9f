"""A local teacher scores. In: the token tree of each trajectory. Out: log π_teacher of its target tokens.

The same trees as in training, so shared prefixes are read once. Each trajectory is scored alone: its scores do
not depend on which others are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

from turnmix.core.usage import Usage
from turnmix.policies.scoring import Keep, ScoreRequest, known_logprob
from turnmix.training.attention import batch_trees, tree_attention_in, tree_hidden_states
from turnmix.training.loss import label_logprobs
from turnmix.training.out_of_memory import told_where_memory_ends
from turnmix.training.tree import RenderedTransition, TokenTree, build_tree, split_to_budget


class TreeScorer:
    """Scores with `model`, over the first `vocabulary` tokens, in passes of about `tokens_per_pass` rows."""

    def __init__(self, model: Any, *, vocabulary: int, tokens_per_pass: int) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._tokens_per_pass = tokens_per_pass

    @property
    def usage(self) -> Usage:
        return Usage()

    def score(self, requests: Iterable[ScoreRequest], keep: Keep) -> None:
        with torch.no_grad(), tree_attention_in(self._model):
            for request in requests:
                keep(request.trajectory_id, self._score(request))

    def _score(self, request: ScoreRequest) -> list[list[float | None]]:
        paths = [
            RenderedTransition(
                prompt_ids=path.prompt_ids, target_ids=path.target_ids, group=request.trajectory_id
            )
            for path in request.paths
        ]
        places = {id(path): place for place, path in enumerate(paths)}
        scores: list[list[float | None]] = [[] for _ in paths]
        for lot in split_to_budget(paths, self._tokens_per_pass):
            tree = build_tree(lot)
            with told_where_memory_ends(partial(self._no_memory, len(tree), tree.longest_path)):
                found = iter(self._logprobs(tree, lot))
            for path in lot:
                scores[places[id(path)]] = [next(found) for _ in path.target_ids]
        return scores

    def _no_memory(self, rows: int, longest: int) -> str:
        return (
            f"scoring: {self._model.device} has no memory left for the teacher's pass of {rows:,} rows; set "
            f"teacher.dtype=bfloat16, or learner.max_context below {longest + 1}, which leaves longer transitions out"
        )

    def _logprobs(self, tree: TokenTree, lot: list[RenderedTransition]) -> list[float | None]:
        """Of all target tokens of the lot, path by path."""
        device = self._model.device
        hidden_ND = tree_hidden_states(self._model, batch_trees([tree], device))
        rows_L = torch.from_numpy(np.concatenate(tree.target_rows)).to(device)
        ids_L = torch.tensor([token for path in lot for token in path.target_ids], device=device)
        head = self._model.get_output_embeddings()
        logprobs_L = label_logprobs(hidden_ND, head, rows_L, ids_L, vocabulary=self._vocabulary)
        return [known_logprob(logprob) for logprob in logprobs_L.tolist()]
