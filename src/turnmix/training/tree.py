"""In: a trajectory's rendered transitions. Out: one token tree: shared prefixes once, every label on it.

Each transition (paper Eq. 11) is a prompt and a target, tokenised alone. The tree is the trie over all of
them: a row is a node, its position is its depth, it attends to its ancestors and itself, and the loss is a
set of (source row, target token, weight) triples. A fork therefore supervises both continuations, and the
gradient is that of the separate transitions, whatever the chat template does to history.

The student took 7 where the teacher would have taken 5; the next state holds the 7:

    >>> first = RenderedTransition(prompt_ids=(1, 2), target_ids=(5, 9), group="a")
    >>> second = RenderedTransition(prompt_ids=(1, 2, 7, 3), target_ids=(6, 9), group="a")
    >>> tree = build_tree([first, second])
    >>> tree.token_ids.tolist()  # trunk first; the branch 5 hangs below row 1
    [1, 2, 7, 3, 6, 5]
    >>> tree.position_ids.tolist()
    [0, 1, 2, 3, 4, 2]
    >>> [(run.start, run.stop, run.parent) for run in tree.runs]
    [(0, 5, -1), (5, 6, 1)]
    >>> tree.subtree_ends.tolist()  # row k is seen by rows [k, subtree_ends[k])
    [6, 6, 5, 5, 5, 6]
    >>> list(zip(tree.label_rows.tolist(), tree.label_ids.tolist()))
    [(1, 5), (3, 6), (4, 9), (5, 9)]
    >>> tree.separate_tokens  # rows that separate training would compute
    8
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from turnmix.training.splitting import split_paths
from turnmix.training.token_paths import Integers, Path, PathOrder, path_of, path_order
from turnmix.training.tree_labels import merged_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedTransition:
    """One transition as the student's tokens."""

    prompt_ids: Sequence[int] | Path
    target_ids: Sequence[int] | Path
    """The tokens to learn, end of turn included."""
    weight: float | tuple[float, ...] = 1.0
    """The w of the loss, of either sign: one for all target tokens, or one each."""
    reference_logprobs: tuple[float, ...] | None = None
    """log π of each target token under the policy that the objective compares the student with, if any."""
    sampled_logprobs: tuple[float, ...] | None = None
    """log π of each target token under the student that sampled it, where the objective needs that too."""
    share: float = 1.0
    """What each of its label tokens counts in the mean that the loss is."""
    group: str
    """The id of a trajectory or a task: transitions of one group share a tree."""

    def __post_init__(self) -> None:
        if not len(self.prompt_ids) or not len(self.target_ids):
            sizes = f"{len(self.prompt_ids)} and {len(self.target_ids)} tokens"
            raise ValueError(f"prompt_ids and target_ids of {self.group!r} must not be empty, got {sizes}")
        if isinstance(self.weight, tuple) and len(self.weight) != len(self.target_ids):
            counts = f"{len(self.weight)} weights for {len(self.target_ids)} target tokens"
            raise ValueError(f"weight of {self.group!r} must be one number or one a token, got {counts}")
        for name in ("reference_logprobs", "sampled_logprobs"):
            logprobs = getattr(self, name)
            if logprobs is not None and len(logprobs) != len(self.target_ids):
                counts = f"{len(logprobs)} for {len(self.target_ids)} target tokens"
                raise ValueError(f"{name} of {self.group!r} must be one a token, got {counts}")

    @property
    def num_rows(self) -> int:
        """Input tokens of this transition alone: its last target token is predicted, never read."""
        return len(self.prompt_ids) + len(self.target_ids) - 1

    @property
    def num_labels(self) -> int:
        """Target tokens that the loss counts: those whose weight is not zero."""
        if isinstance(self.weight, tuple):
            return sum(weight != 0 for weight in self.weight)
        return len(self.target_ids) if self.weight != 0 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Rows [start, stop), each the child of the row before it; the first is the child of `parent` (−1: a
    root)."""

    start: int
    stop: int
    parent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTree:
    """A trie over token sequences, laid out in N rows: depth first, at every node the run that goes on before
    those that hang below it, so that the rows of every subtree follow one another."""

    group: str
    """The id of the trajectory, or task, whose transitions these are."""
    token_ids: Integers
    position_ids: Integers
    """The depth of each row."""
    subtree_ends: Integers
    """For each row k the end of its subtree: row q sees it where k ≤ q < subtree_ends[k]."""
    runs: tuple[Run, ...]
    """In the order of their rows. The first is the trunk, the longest path; what hangs below it follows from
    its end upwards."""
    label_rows: Integers
    """The row whose output predicts the label token, one a triple."""
    label_ids: Integers
    label_weights: NDArray[np.float64]
    """The weight of each."""
    label_shares: NDArray[np.float64]
    """The shares, summed, of the label tokens that became one triple, because they agree in all that the loss depends
    on: with shares of 1, their number."""
    label_reference_logprobs: NDArray[np.float64]
    """The label's `reference_logprobs`; NaN where there is none."""
    label_sampled: NDArray[np.float64]
    """The label's `sampled_logprobs`; NaN where there is none."""
    target_rows: tuple[Integers, ...]
    """For each transition, in the order given: the row that predicts each of its target tokens."""
    num_labels: int
    """Label tokens before equal ones were merged."""
    total_share: float
    """Their shares, summed: what the loss is normalised by."""
    separate_tokens: int
    """Rows that the transitions have when each is computed alone."""
    repeated_rows: int = 0
    """Rows that another part of the same tree has too, where it was split."""
    whole_rows: int
    """Rows of the tree before it was split."""

    @property
    def longest_path(self) -> int:
        """Rows of the trunk."""
        return self.runs[0].stop

    def __len__(self) -> int:
        return len(self.token_ids)


def build_tree(transitions: Sequence[RenderedTransition]) -> TokenTree:
    """The trie over `transitions`."""
    read_paths = _read_paths(transitions)
    return _build(transitions, read_paths, path_order(read_paths))


def _read_paths(transitions: Sequence[RenderedTransition]) -> list[Path]:
    return [path_of(item.prompt_ids, item.target_ids) for item in transitions]


def _build(
    transitions: Sequence[RenderedTransition], read_paths: Sequence[Path], order: PathOrder
) -> TokenTree:
    """The trie over `transitions`, by what each reads. Neighbours in the order share the longest prefixes, so each path
    hangs below one of its two."""
    paths: list[Path] = []  # each once, in their order
    shared: list[int] = []
    place_of = [0] * len(transitions)
    for place, common in zip(order.places, order.shared, strict=True):
        path = read_paths[place]
        if not paths or common < max(len(path), len(paths[-1])):
            paths.append(path)
            shared.append(common)
        place_of[place] = len(paths) - 1
    trunk = max(range(len(paths)), key=lambda index: len(paths[index]))
    outward = [(index, index - 1, shared[index]) for index in range(trunk + 1, len(paths))]
    outward += [(index, index + 1, shared[index + 1]) for index in range(trunk - 1, -1, -1)]

    depths = [0]  # of the first row of each run, in order of discovery
    chunks = [paths[trunk]]
    parents = [(-1, 0)]  # run, and offset within it
    spines = {trunk: [0]}  # the runs on a path, from the root
    for index, neighbour, cut in outward:
        spine = [run for run in spines[neighbour] if depths[run] < cut]
        if cut < len(paths[index]):
            above = spine[-1] if spine else -1
            parents.append((above, cut - 1 - depths[above]))
            depths.append(cut)
            chunks.append(paths[index][cut:])
            spine.append(len(chunks) - 1)
        spines[index] = spine

    layout = _depth_first(parents)
    starts = [0] * len(chunks)
    row = 0
    for run in layout:
        starts[run] = row
        row += len(chunks[run])

    def rows_of(spine: Sequence[int], first: int, last: int) -> Integers:
        """The rows of a path at the depths [first, last)."""
        wanted, tops = np.arange(first, last), np.array([depths[run] for run in spine])
        places = np.searchsorted(tops, wanted, side="right") - 1
        offsets: Integers = np.array([starts[run] - depths[run] for run in spine])
        return wanted + offsets[places]

    target_rows = tuple(
        rows_of(spines[place], len(item.prompt_ids) - 1, item.num_rows)
        for item, place in zip(transitions, place_of, strict=True)
    )
    labels = merged_labels(transitions, target_rows)
    runs = tuple(
        Run(
            start=starts[run],
            stop=starts[run] + len(chunks[run]),
            parent=-1 if parents[run][0] < 0 else starts[parents[run][0]] + parents[run][1],
        )
        for run in layout
    )
    position_ids = np.concatenate([np.arange(len(chunks[run])) + depths[run] for run in layout])
    return TokenTree(
        group=transitions[0].group,
        token_ids=np.concatenate([chunks[run] for run in layout]).astype(np.int64),
        position_ids=position_ids,
        subtree_ends=_subtree_ends(runs, position_ids),
        runs=runs,
        label_rows=labels.rows,
        label_ids=labels.ids,
        label_weights=labels.weights,
        label_shares=labels.shares,
        label_reference_logprobs=labels.reference_logprobs,
        label_sampled=labels.sampled,
        target_rows=target_rows,
        num_labels=sum(item.num_labels for item in transitions),
        total_share=sum(item.num_labels * item.share for item in transitions),
        separate_tokens=sum(item.num_rows for item in transitions),
        whole_rows=row,
    )


def split_trees(transitions: Sequence[RenderedTransition], budget: int) -> list[TokenTree]:
    """The trees of `transitions`: one, or parts of `budget` rows, or of more (see `splitting`)."""
    paths = _read_paths(transitions)
    order = path_order(paths)
    return [
        replace(
            _build(
                [transitions[place] for place in part.places],
                [paths[place] for place in part.places],
                order.among(part.places),
            ),
            repeated_rows=part.repeated_rows,
            whole_rows=part.whole_rows,
        )
        for part in split_paths(paths, order, budget)
    ]


def split_to_budget(transitions: Sequence[RenderedTransition], budget: int) -> list[list[RenderedTransition]]:
    """The transitions of each of these trees."""
    paths = _read_paths(transitions)
    parts = split_paths(paths, path_order(paths), budget)
    return [[transitions[place] for place in part.places] for part in parts]


def _depth_first(parents: Sequence[tuple[int, int]]) -> list[int]:
    """The runs so that each subtree's rows follow one another: below a run, what hangs lowest comes first."""
    below: list[list[int]] = [[] for _ in range(len(parents) + 1)]
    for run, (above, _) in enumerate(parents):
        below[above].append(run)  # roots: in the last list
    order: list[int] = []
    waiting = below[-1][::-1]
    while waiting:
        run = waiting.pop()
        order.append(run)
        waiting += sorted(below[run], key=lambda child: parents[child][1])
    return order


def _subtree_ends(runs: Sequence[Run], depths: Integers) -> Integers:
    """For each row the one behind its subtree."""
    ends = np.full(len(depths), len(depths))
    path = np.empty(int(depths.max()) + 1, dtype=np.int64)  # the rows from the root to the latest one
    length = 0
    for run in runs:
        depth = int(depths[run.start])
        ends[path[depth:length]] = run.start
        length = depth + run.stop - run.start
        path[depth:length] = np.arange(run.start, run.stop)
    return ends
