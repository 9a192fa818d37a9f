"""The trajectories of one evaluation, or of one iteration's rollouts, as a log that Inspect opens.

In: trajectories and what they are of. Out: the JSON of Inspect's log format, version 2: a sample a trajectory, with its
messages, its scores, and in each assistant message's metadata who acted and what the teacher would have done.
Nothing of Inspect is needed to write it.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from turnmix import __version__
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.core.usage import Usage

VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSubject:
    """What a log is of."""

    run: str
    stage: str
    """Such as `evaluate-002`."""
    model: str
    tasks: str
    """What the tasks are called."""
    created: datetime
    is_complete: bool
    """Has the stage ended?"""

    @property
    def id(self) -> str:
        return hashlib.sha256(f"{self.run} {self.stage}".encode()).hexdigest()[:22]

    @property
    def file_name(self) -> str:
        """As Inspect names its logs, so that its viewer lists them by time and task."""
        return f"{self.created.strftime('%Y-%m-%dT%H-%M-%S')}_{self.stage}_{self.id}.json"


def inspect_log(trajectories: Iterable[Trajectory], subject: LogSubject) -> dict[str, Any]:
    """The log of these trajectories."""
    epochs: Counter[str] = Counter()
    samples, resolved, rewards = [], [], []
    usage: Counter[tuple[str, str]] = Counter()
    for trajectory in trajectories:
        epochs[trajectory.task_id] += 1
        samples.append(_sample(trajectory, epoch=epochs[trajectory.task_id], model=subject.model))
        for who, used in trajectory.usage.items():
            for name, value in _usage(used).items():
                usage[who, name] += value
        if trajectory.verdict is not None and trajectory.stop_reason is not StopReason.infra_error:
            resolved.append(float(trajectory.verdict.resolved))
            if trajectory.verdict.reward is not None:
                rewards.append(trajectory.verdict.reward)
    created = subject.created.isoformat(timespec="seconds")
    scored = [("resolved", "accuracy", resolved), ("reward", "mean", rewards)]
    return {
        "version": VERSION,
        "status": "success" if subject.is_complete else "started",
        "eval": {
            "eval_id": subject.id,
            "run_id": subject.id,
            "created": created,
            "task": subject.stage,
            "task_id": subject.id,
            "task_version": 0,
            "dataset": {
                "name": subject.tasks,
                "samples": len(epochs),
                "sample_ids": list(epochs),
                "shuffled": False,
            },
            "model": subject.model,
            "config": {"epochs": max(epochs.values(), default=1)},
            "packages": {"turnmix": __version__},
            "metadata": {"run": subject.run},
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(resolved),
            "scores": [_score(*each) for each in scored if each[2]],
        },
        "stats": {
            "started_at": created,
            "completed_at": created,
            "model_usage": _by_model(usage),
        },
        "samples": samples,
    }


def _score(name: str, metric: str, values: Sequence[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    spread = math.fsum((value - mean) ** 2 for value in values)
    error = math.sqrt(spread / (len(values) - 1) / len(values)) if len(values) > 1 else 0.0
    figures = {metric: mean, "stderr": error}
    return {
        "name": name,
        "scorer": name,
        "scored_samples": len(values),
        "params": {},
        "metrics": {key: {"name": key, "value": value, "params": {}} for key, value in figures.items()},
    }


def _sample(trajectory: Trajectory, *, epoch: int, model: str) -> dict[str, Any]:
    names: dict[str, str] = {}
    messages = [_message(message, names) for message in trajectory.prompt]
    last: dict[str, Any] = {"role": "assistant", "content": ""}
    for turn in trajectory.turns:
        new = () if turn.opening is None else turn.opening.messages
        messages += [_message(message, names) for message in new if not isinstance(message, int)]
        last = {**_message(turn.action.message, names), "metadata": _turn(turn)}
        messages.append(last)
        messages += [_message(message, names) for message in turn.observation]
    ended = trajectory.stop_reason is StopReason.finished
    usage: Counter[tuple[str, str]] = Counter()
    for who, used in trajectory.usage.items():
        usage.update({(who, name): value for name, value in _usage(used).items()})
    failed = {} if trajectory.error is None else {"error": _error(trajectory.error)}
    return {
        "id": trajectory.task_id,
        "epoch": epoch,
        "input": messages[: len(trajectory.prompt)],
        "target": "",
        "messages": messages,
        "output": {
            "model": model,
            "choices": [{"message": last, "stop_reason": "stop" if ended else "unknown"}],
        },
        "scores": _scores(trajectory),
        "metadata": {
            "trajectory": trajectory.id,
            "stop_reason": trajectory.stop_reason.value,
            "iteration": trajectory.iteration,
            "beta": trajectory.beta,
            "attempts": trajectory.attempts,
        },
        "model_usage": _by_model(usage),
        "uuid": trajectory.id,
        **failed,
    }


def _scores(trajectory: Trajectory) -> dict[str, Any]:
    verdict = trajectory.verdict
    if verdict is None:
        return {}
    found = {"resolved": {"value": "C" if verdict.resolved else "I", "metadata": dict(verdict.details)}}
    return found if verdict.reward is None else {**found, "reward": {"value": verdict.reward}}


def _message(message: Message, names: dict[str, str]) -> dict[str, Any]:
    data: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        names.update((call.id, call.name) for call in message.tool_calls)
        data["tool_calls"] = [
            {"id": call.id, "function": call.name, "arguments": dict(call.arguments), "type": "function"}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        data["tool_call_id"] = message.tool_call_id
        if message.tool_call_id in names:
            data["function"] = names[message.tool_call_id]
    return data


def _turn(turn: Turn) -> dict[str, Any]:
    told: dict[str, Any] = {"actor": turn.actor, "seconds": dict(turn.seconds)}
    if turn.action.parse_error is not None:
        told["parse_error"] = turn.action.parse_error
    if turn.opening is not None:
        told["opening"] = {name: getattr(turn.opening, name) for name in ("after", "shared")}
    told.update(_marks(turn))
    if turn.label is not None and turn.label != turn.action:
        told["teacher_would"] = _action(turn.label)
    return told


def _marks(turn: Turn) -> dict[str, Any]:
    told = {"is_rejected": turn.is_rejected, "repeats": turn.repeats}
    return {name: value for name, value in told.items() if value}


def _action(action: Action) -> Mapping[str, Any]:
    return _message(action.message, {})


def _error(message: str) -> dict[str, str]:
    return {"message": message, "traceback": "", "traceback_ansi": ""}


def _usage(used: Usage) -> dict[str, int]:
    return {
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
        "input_tokens_cache_read": used.cached_tokens,
    }


def _by_model(usage: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (who, name), value in usage.items():
        found.setdefault(who, {})[name] = value
    return found
