"""What a verifier may say of how a trajectory ended, and what comes back of it from a store."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from recorded_trajectories import trajectory

from turnmix.core.json_text import json_value
from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.environments.patch_verdict import PatchDetails, patch_verdict


def stored(verdict: Verdict) -> Verdict:
    return Verdict.from_json(json.loads(json.dumps(verdict.to_json())))


@pytest.mark.parametrize("reward", [None, 0.0, -1.5, 1, True, Fraction(1, 4)])
def test_a_reward_is_a_float_or_none_and_comes_back_from_a_store(reward: object) -> None:
    verdict = Verdict(resolved=False, reward=reward)  # type: ignore[arg-type]
    assert verdict.reward is None if reward is None else type(verdict.reward) is float
    assert stored(verdict) == verdict


@pytest.mark.parametrize("resolved", [1, 0.5, None, "yes"])
def test_what_is_neither_resolved_nor_unresolved_is_refused_by_its_name(resolved: object) -> None:
    with pytest.raises(ValueError, match=r"Verdict\.resolved: .* True or False"):
        Verdict(resolved=resolved)  # type: ignore[arg-type]


def test_a_comparison_of_numpy_resolves_a_task_and_comes_back_from_a_store() -> None:
    verdict = Verdict(resolved=np.float32(2) > 1)  # type: ignore[arg-type]
    assert verdict.resolved is True
    assert stored(verdict) == verdict


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, "1.0", [1.0], 10**400])
def test_a_reward_that_is_no_finite_number_is_refused_by_its_name(reward: object) -> None:
    with pytest.raises(ValueError, match=r"reward: .* finite number"):
        Verdict(resolved=False, reward=reward)  # type: ignore[arg-type]


def test_the_details_of_a_world_come_back_as_they_are_whatever_json_holds() -> None:
    verdict = Verdict(
        resolved=True, details={"moves": (1, 2), "board": {"a": [None, 0.5]}, "said": "x\udce9\n"}
    )
    assert verdict.details == {"moves": [1, 2], "board": {"a": [None, 0.5]}, "said": "x\udce9\n"}
    assert stored(verdict) == verdict


@pytest.mark.parametrize("value", [math.nan, {1, 2}, object(), b"x", {"deep": [[]]}])
def test_details_that_json_does_not_hold_are_refused_by_their_name(value: object) -> None:
    if isinstance(value, dict):
        value["deep"] = value
    with pytest.raises(ValueError, match=r"details: .* JSON"):
        Verdict(resolved=True, details={"board": value})


def test_details_that_nest_too_deep_to_be_read_again_are_refused() -> None:
    board: dict[str, object] = {}
    for _ in range(63):
        board = {"board": board}
    written = {"verdict": Verdict(resolved=True, details=board).to_json()}
    assert json_value(json.dumps(written)) == written
    with pytest.raises(ValueError, match="nested more than 64 levels deep"):
        Verdict(resolved=True, details={"board": board})


OLD = {"resolved": True, "submitted": True, "passed": 3, "failed": 0, "patch": "+x\n", "set_aside": ["a.pth"]}


def test_the_verdicts_of_earlier_versions_read_back_equal() -> None:
    new = patch_verdict(resolved=True, submitted=True, passed=3, failed=0, patch="+x\n", set_aside=("a.pth",))
    assert Verdict.from_json(OLD) == new
    assert PatchDetails.of(new) == PatchDetails(
        submitted=True, passed=3, failed=0, patch="+x\n", set_aside=("a.pth",)
    )


@pytest.mark.parametrize("change", [{"passed": "3"}, {"passed": True}, {"set_aside": "a"}, {"patch": 1}])
def test_a_damaged_verdict_on_a_patch_is_told(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="in a verdict on a patch"):
        PatchDetails.of(Verdict.from_json({**OLD, **change}))


def test_whether_something_was_submitted_is_what_the_world_says_else_whether_the_agent_finished() -> None:
    ended = trajectory("a", verdict=Verdict(resolved=False))
    assert ended.submitted
    assert not replace(ended, stop_reason=StopReason.max_turns).submitted
    assert not replace(ended, verdict=Verdict(resolved=False, details={"submitted": False})).submitted
    assert not replace(ended, verdict=None, stop_reason=StopReason.infra_error).submitted
