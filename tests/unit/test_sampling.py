"""How tokens are drawn from logits."""

import math

import torch

from turnmix.policies.local.sampling import Sampling


def drawn(logits, *, vocabulary, greedy=False, count=200, temperature=1.0):
    sampling = Sampling(temperature=temperature, top_p=1.0, greedy=greedy, vocabulary=vocabulary)
    rows = torch.tensor([logits]).expand(count, -1)
    return sampling.draw(rows, (torch.arange(count) + 0.5) / count)


def test_tokens_are_drawn_as_often_as_they_are_likely():
    tokens, logprobs = drawn([math.log(0.5), math.log(0.3), math.log(0.2)], vocabulary=3)
    assert tokens.bincount().tolist() == [100, 60, 40]
    assert torch.allclose(logprobs.exp(), torch.tensor([0.5, 0.3, 0.2])[tokens])


def test_log_probabilities_are_those_that_the_token_was_drawn_with():
    """Halves and quarters at temperature 1/2: (1/4, 1/16, 1/16) over 3/8. Greedy has no temperature."""
    halves = [math.log(0.5), math.log(0.25), math.log(0.25)]
    tokens, logprobs = drawn(halves, vocabulary=3, temperature=0.5, count=600)
    assert tokens.bincount().tolist() == [400, 100, 100]
    assert torch.allclose(logprobs.exp(), torch.tensor([4 / 6, 1 / 6, 1 / 6])[tokens])
    _, logprobs = drawn(halves, vocabulary=3, temperature=0.5, greedy=True)
    assert torch.allclose(logprobs.exp(), torch.tensor(0.5))


def test_logits_that_pad_the_vocabulary_are_never_drawn():
    for greedy in (False, True):
        tokens, _ = drawn([0.0, 1.0, 9.0, 9.0], vocabulary=2, greedy=greedy)
        assert int(tokens.max()) <= 1
