"""What `POST /sessions/{id}/finish` says: how a scaffold ended that starts itself.

    {"resolved": true}, {"reward": 0.5}, {"verdict": {"resolved": true, "reward": 0.5, "details": {…}}}
    {"stop_reason": "max_turns", "resolved": false}
    {"error": "my database was down"}      nobody's doing: the task is free for another attempt

In: the body. Out: a verdict and a stop reason. A reward alone is resolved from 1 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from turnmix.core.trajectory import StopReason
from turnmix.core.verdict import Verdict
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.scaffolds.report import verdict_of

_OF_VERDICT = ("resolved", "reward", "details", "submitted")
_KEYS = ("verdict", *_OF_VERDICT, "stop_reason", "error")
_STOP_REASONS = tuple(reason.value for reason in StopReason if reason is not StopReason.infra_error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How a session ends."""

    stop_reason: StopReason
    verdict: Verdict | None = None
    """None: it is not known, or the task's own verifier judges."""
    error: str | None = None
    """What failed, of an infra_error."""


def read_finish(body: Mapping[str, Any], *, is_judged: bool) -> Finish:
    """`is_judged`: the task has a verifier of its own. Raises RequestError: something is missing, or wrong."""
    if unknown := sorted(str(key) for key in body if key not in _KEYS):
        raise _refused(unknown[0], f"there is no such key: give some of {', '.join(_KEYS)}")
    if (error := body.get("error")) is not None:
        if not isinstance(error, str) or not error:
            raise _refused("error", f"{error!r:.80}: say in words what failed, or leave it out")
        if others := [key for key in body if key != "error"]:
            raise _refused(
                others[0], "what failed for reasons that are nobody's doing has none: leave it out"
            )
        return Finish(stop_reason=StopReason.infra_error, error=error)
    stop_reason = _stop_reason(body.get("stop_reason", StopReason.finished.value))
    told = _told(body)
    if is_judged:
        if told is not None:
            raise _refused(
                next(iter(key for key in body if key != "stop_reason")),
                "these tasks have a verifier of their own, which judges: leave it out",
            )
        return Finish(stop_reason=stop_reason)
    if told is None:
        raise _refused(
            "verdict", 'it is not given: give {"resolved": true or false}, or {"reward": a number}'
        )
    try:
        return Finish(stop_reason=stop_reason, verdict=verdict_of(told))
    except ValueError as mistake:
        raise _refused("verdict", str(mistake).removeprefix("report: ")) from None


def _told(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The verdict, as far as something is said of it."""
    given = {key: body[key] for key in _OF_VERDICT if key in body}
    if "verdict" in body:
        if given:
            raise _refused(next(iter(given)), "it belongs into `verdict`, which is given too")
        if not isinstance(body["verdict"], Mapping):
            raise _refused("verdict", f"{body['verdict']!r:.80}: give an object with `resolved` or `reward`")
        given = dict(body["verdict"])
    elif not given:
        return None
    reward = given.get("reward")
    if "resolved" not in given and isinstance(reward, int | float) and not isinstance(reward, bool):
        given["resolved"] = reward >= 1
    return given


def _stop_reason(given: Any) -> StopReason:
    if given not in _STOP_REASONS:
        raise _refused("stop_reason", f"{given!r:.80}: give {', '.join(_STOP_REASONS)}, or leave it out")
    return StopReason(given)


def _refused(key: str, told: str) -> RequestError:
    return RequestError("invalid_request", f"{key:.80}: {told}", parameter=key)
