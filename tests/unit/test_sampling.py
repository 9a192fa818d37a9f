"""How tokens are drawn from logits."""

import math

import torch

from turnmix.policies.sampling import Sampling


def drawn(logits, *, vocabulary, greedy=False, count=200):
    sampling = Sampling(temperature=1.0, top_p=1.0, greedy=greedy, vocabulary=vocabulary)
    rows = torch.tensor([logits]).expand(count, -1)
    return sampling.draw(rows, (torch.arange(count) + 0.5) / count)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    tokens, logprobs = drawn([math.log(0.5), math.log(0.3), math.log(0.2)], vocabulary=3)
    assert tokens.bincount().tolist() == [100, 60, 40]
    assert torch.allclose(logprobs.exp(), torch.tensor([0.5, 0.3, 0.2])[tokens])


def test_logits_that_pad_the_vocabulary_are_never_drawn():
    for greedy in (False, True):
        tokens, _ = drawn([0.0, 1.0, 9.0, 9.0], vocabulary=2, greedy=greedy)
        assert int(tokens.max()) <= 1
