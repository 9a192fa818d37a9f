"""What a verifier may say of how a trajectory ended, and what comes back of it from a store."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import pytest

from turnmix.core.errors import UserError
from turnmix.core.trajectory import Verdict


def _verdict(reward: object) -> Verdict:
    return Verdict(resolved=False, submitted=True, passed=0, failed=1, reward=reward)  # type: ignore[arg-type]


@pytest.mark.parametrize("reward", [None, 0.0, -1.5, 1, True, Fraction(1, 4)])
def test_a_reward_is_a_float_or_none_and_comes_back_from_a_store(reward: object) -> None:
    verdict = _verdict(reward)
    assert verdict.reward is None if reward is None else type(verdict.reward) is float
    assert Verdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, "1.0", [1.0], 10**400])
def test_a_reward_that_is_no_finite_number_is_refused_by_its_name(reward: object) -> None:
    with pytest.raises(UserError, match=r"reward: .* finite number"):
        _verdict(reward)
