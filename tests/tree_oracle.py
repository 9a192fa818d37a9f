"""Random transitions, and what a tree of them means, written so that it is obvious: which rows see which, by
climbing from each row to its root, and the loss of each transition alone."""

import numpy as np
import torch
from hypothesis import strategies as st

from turnmix.training.tree import RenderedTransition

VOCABULARY = 12
"""Few, so that tokens repeat and branches begin alike."""


def parents(tree):
    """The parent of each row; −1: a root."""
    above = np.arange(len(tree)) - 1
    for run in tree.runs:
        above[run.start] = run.parent
    return above.tolist()


def dense_mask(trees):
    """[N, N] bool over trees one behind the other: row q sees itself and its ancestors."""
    mask = torch.zeros(2 * (sum(map(len, trees)),), dtype=torch.bool)
    offset = 0
    for tree in trees:
        above = parents(tree)
        for row in range(len(tree)):
            seen = row
            while seen >= 0:
                mask[offset + row, offset + seen] = True
                seen = above[seen]
        offset += len(tree)
    return mask


def separate_losses(model, transitions):
    """What every trainer would compute: each transition alone, through the model's own attention and head."""
    for item in transitions:
        logits = model(input_ids=torch.tensor([item.prompt_ids + item.target_ids])).logits[0]
        log_probabilities = logits[len(item.prompt_ids) - 1 : -1].log_softmax(-1)
        weights = torch.tensor(item.weight).expand(len(item.target_ids))
        yield -(log_probabilities[range(len(item.target_ids)), item.target_ids] * weights).sum()


def tokens(min_size=1, max_size=8):
    return st.lists(st.integers(0, VOCABULARY - 1), min_size=min_size, max_size=max_size).map(tuple)


WEIGHTS = st.sampled_from([1.0, 1.0, -1.0, 0.25, -2.0, 3.0])


@st.composite
def transitions(draw, max_count=8, max_tokens=8):
    """States that fork from earlier ones at any depth, or repeat them; labels of one token, and labels that
    begin like another label of the same state; weights of any sign, one for all tokens or one each."""
    made, states = [], []
    for _ in range(draw(st.integers(1, max_count))):
        if states and draw(st.booleans()):
            stem = draw(st.sampled_from(states))
            fresh = draw(tokens(0, max_tokens))
            state = stem[: draw(st.integers(0, len(stem)))] + fresh or stem
        else:
            state = draw(tokens(1, max_tokens))
        earlier = [item.target_ids for item in made if item.prompt_ids == state]
        label = draw(tokens(1, max_tokens))
        if earlier and draw(st.booleans()):
            other = draw(st.sampled_from(earlier))
            label = (other + label) if draw(st.booleans()) else other[: draw(st.integers(1, len(other)))]
        one_each = st.lists(WEIGHTS, min_size=len(label), max_size=len(label)).map(tuple)
        weight = draw(st.one_of(WEIGHTS, one_each))
        made.append(RenderedTransition(prompt_ids=state, target_ids=label, weight=weight, group="a"))
        states += [state, state + label]
    return made
