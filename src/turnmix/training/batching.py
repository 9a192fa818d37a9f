"""In: the trees of one optimiser step. Out: forward passes of about equal cost, as many for every rank.

All ranks make passes in step: under FSDP each layer of a pass is gathered by all of them together, so a round
lasts as long as its dearest pass. Trees are therefore packed into passes of about equal cost, passes are sorted,
and a round takes neighbours.

    >>> from turnmix.training.tree import RenderedTransition, build_tree
    >>> trees = [build_tree([RenderedTransition(prompt_ids=(1,) * size, target_ids=(2,), group="a")])
    ...          for size in (6, 5, 2, 1)]
    >>> cost = Cost(per_row=1.0, per_pair=0.0, per_label=0.0)
    >>> [[[len(tree) for tree in each.trees] for each in passes]
    ...  for passes in deal(trees, cost=cost, budget=8, num_ranks=2)]
    [[[6, 1]], [[5, 2]]]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from turnmix.training.tree import TokenTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Multiply-adds of a forward pass."""

    per_row: float
    """In the layers' matrices."""
    per_pair: float
    """In attention, for a row and one that it attends to."""
    per_label: float
    """In the head."""

    def of(self, tree: TokenTree) -> float:
        """What `tree` costs. A row of depth d attends to d + 1 rows."""
        pairs = int(tree.position_ids.sum()) + len(tree)
        return self.per_row * len(tree) + self.per_pair * pairs + self.per_label * len(tree.label_rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Trees that go through the model together."""

    trees: tuple[TokenTree, ...]
    is_counted: bool = True
    """False: the pass repeats a tree of another rank, only to keep step with it, and adds nothing."""


def model_cost(model: Any) -> Cost:
    """The cost of `model`'s passes."""
    config = model.config
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    embedded = sum(parameter.numel() for parameter in model.get_input_embeddings().parameters())
    return Cost(
        per_row=sum(parameter.numel() for parameter in model.base_model.parameters()) - embedded,
        per_pair=2 * config.num_hidden_layers * config.num_attention_heads * head_dim,
        per_label=config.vocab_size * config.hidden_size,
    )


def deal(trees: Sequence[TokenTree], *, cost: Cost, budget: int, num_ranks: int) -> list[list[Pass]]:
    """For each rank its passes: the same number for all, each of at most `budget` rows or one tree."""
    costs = [cost.of(tree) for tree in trees]
    by_cost = sorted(range(len(trees)), key=lambda index: -costs[index])
    rounds = -(-sum(min(len(tree), budget) for tree in trees) // (budget * num_ranks))
    while (lots := _packed(trees, costs, by_cost, budget, num_lots=rounds * num_ranks)) is None:
        rounds += 1
    lots = sorted((lot for lot in lots if lot), key=lambda lot: -sum(costs[index] for index in lot))
    passes = [Pass(trees=tuple(trees[index] for index in lot)) for lot in lots]
    idle = Pass(trees=(trees[by_cost[-1]],), is_counted=False)
    passes += [idle] * (-len(passes) % num_ranks)
    return [passes[rank::num_ranks] for rank in range(num_ranks)]


def _packed(
    trees: Sequence[TokenTree], costs: Sequence[float], order: Sequence[int], budget: int, *, num_lots: int
) -> list[list[int]] | None:
    """The dearest tree first, each into the cheapest lot that has room for it; None: one finds no room."""
    lots: list[list[int]] = [[] for _ in range(num_lots)]
    rows, spent = [0] * num_lots, [0.0] * num_lots
    for index in order:
        size = len(trees[index])
        open_lots = [lot for lot in range(num_lots) if not lots[lot] or rows[lot] + size <= budget]
        if not open_lots:
            return None
        chosen = min(open_lots, key=lambda lot: spent[lot])
        lots[chosen].append(index)
        rows[chosen] += size
        spent[chosen] += costs[index]
    return lots
