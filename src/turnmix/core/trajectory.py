"""What happened: states, actions, observations, labels (paper Eq. 5-7, 10).

A `Turn` holds what was executed and, beside it, what the teacher would have done. The label is never part
of the next state: the state of turn t is the prompt and the executed actions and observations before t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

from turnmix.core.answer_form import ANY_FORM, AnswerForm
from turnmix.core.field_check import require, tuple_of
from turnmix.core.message import Message, ProviderFields, ToolSpecification
from turnmix.core.opening import Opening
from turnmix.core.tool_fault import ToolFault
from turnmix.core.usage import Usage, usage_from_json
from turnmix.core.verdict import Verdict

Actor = Literal["student", "teacher", "accident"]
"""Who acted. An accident is neither's doing: a scripted action, which is executed and never taught."""

Unfinished = Literal["unresolved", "graded"]
"""What becomes of what an agent leaves that did not finish: unresolved as it is, or judged as if it had."""


class StopReason(str, Enum):
    """Why a trajectory ended. All but `infra_error` are data."""

    finished = "finished"  # the agent said that it is done
    max_turns = "max_turns"
    max_tokens = "max_tokens"
    stuck = "stuck"
    wall_time = "wall_time"
    limit_exceeded = "limit_exceeded"  # the agent ended its world, as by taking more than it allows
    scaffold_error = "scaffold_error"  # a scaffold of the user's own ended with an error
    infra_error = "infra_error"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a policy sees when it acts: the observable history h_t (paper Eq. 7) and the tools on offer."""

    messages: tuple[Message, ...]
    tools: tuple[ToolSpecification, ...]
    form: AnswerForm = ANY_FORM
    """What a foreign scaffold wants of the answer's form."""

    def __post_init__(self) -> None:
        """Raises ValueError: a field is of another kind than it must be."""
        object.__setattr__(self, "messages", tuple_of(Message, self.messages, field="State.messages"))
        object.__setattr__(self, "tools", tuple_of(ToolSpecification, self.tools, field="State.tools"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One turn-level action a_t: reasoning text and tool calls, as one assistant message."""

    message: Message
    parse_error: str | None = None
    """What was wrong with a tool call in the text; the raw text is then `message.content`. Told to the agent."""
    token_ids: tuple[int, ...] | None = None
    """The sampled tokens, end-of-turn token included, when a local policy sampled them; None otherwise."""
    logprobs: tuple[float | None, ...] | None = None
    """log π(token) under the sampling policy, one per token id: at the temperature at which it sampled (greedy: 1),
    before top-p. A vLLM server tells it at 1, but where the objective compares with it. None when not computed, also
    for a single token."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    """Of `prompt_tokens`: those that the policy's server had read before; None: it does not tell."""
    stop_text: str | None = None
    """That of its state's form before which it ended; None: none, or the policy does not tell."""

    def __post_init__(self) -> None:
        require(Message, self.message, field="Action.message")
        # States are made of messages: here the message learns its tokens, live or read back from a store.
        if self.token_ids is not None and self.message.token_ids != self.token_ids:
            object.__setattr__(self, "message", replace(self.message, token_ids=self.token_ids))

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"message": self.message.to_json()}
        for name in ("parse_error", "prompt_tokens", "completion_tokens", "cached_tokens", "stop_text"):
            if (value := getattr(self, name)) is not None:
                data[name] = value
        if self.token_ids is not None:
            data["token_ids"] = list(self.token_ids)
        if self.logprobs is not None:
            data["logprobs"] = list(self.logprobs)
        if self.message.provider_fields is not None:
            data["provider_fields"] = self.message.provider_fields.to_json()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Action:
        message = Message.from_json(data["message"])
        if (fields := data.get("provider_fields")) is not None:
            message = replace(message, provider_fields=ProviderFields.from_json(fields))
        return cls(
            message=message,
            parse_error=data.get("parse_error"),
            token_ids=None if data.get("token_ids") is None else tuple(data["token_ids"]),
            logprobs=None if data.get("logprobs") is None else tuple(data["logprobs"]),
            prompt_tokens=data.get("prompt_tokens"),
            completion_tokens=data.get("completion_tokens"),
            cached_tokens=data.get("cached_tokens"),
            stop_text=data.get("stop_text"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One visited state's execution: who acted, what was executed, what was observed, what is the label."""

    actor: Actor
    action: Action
    observation: tuple[Message, ...]
    """The messages that answer the action: one `tool` message a call, or one `user` message."""
    label: Action | None = None
    """The teacher's action in this state. On a teacher turn it is the executed action itself.
    None: not asked for, or the answer was lost."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall seconds by part: `act`, `label`, `step`."""
    tool_faults: tuple[ToolFault, ...] = ()
    """Tools that failed at its calls, whatever the agent wrote."""
    opening: Opening | None = None
    """Its state; None: what the turn before it led to, or the trajectory's prompt."""
    form: AnswerForm = ANY_FORM
    """What was wanted of the answer's form."""
    is_rejected: bool = False
    """The scaffold asked again in the same state, and went on from another answer: this one was executed nowhere."""
    repeats: int = 0
    """How often the same request came again, and got the same answer."""

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "actor": self.actor,
            "action": self.action.to_json(),
            "observation": [message.to_json() for message in self.observation],
            "seconds": dict(self.seconds),
        }
        if self.tool_faults:
            data["tool_faults"] = [fault.to_json() for fault in self.tool_faults]
        if self.opening is not None:
            data["opening"] = self.opening.to_json()
        if self.form != ANY_FORM:
            data["form"] = self.form.to_json()
        if self.is_rejected:
            data["is_rejected"] = True
        if self.repeats:
            data["repeats"] = self.repeats
        if self.label is not None:
            same = self.label is self.action
            data["label"] = "executed" if same else self.label.to_json()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Turn:
        action = Action.from_json(data["action"])
        label = data.get("label")
        return cls(
            actor=data["actor"],
            action=action,
            observation=tuple(Message.from_json(message) for message in data["observation"]),
            label=None if label is None else action if label == "executed" else Action.from_json(label),
            seconds=data.get("seconds", {}),
            tool_faults=tuple(ToolFault.from_json(fault) for fault in data.get("tool_faults", ())),
            opening=None if (opening := data.get("opening")) is None else Opening.from_json(opening),
            form=AnswerForm.from_json(data.get("form", {})),
            is_rejected=data.get("is_rejected", False),
            repeats=data.get("repeats", 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """One rollout of one task, from its prompt to its verdict."""

    id: str
    task_id: str
    iteration: int
    """Counted from 1; 0 for an evaluation of the base student."""
    seed: int
    tools: tuple[ToolSpecification, ...]
    prompt: tuple[Message, ...]
    turns: tuple[Turn, ...]
    stop_reason: StopReason
    verdict: Verdict | None
    """None: not computed (an `infra_error`), never 'unresolved'."""
    beta: float | None = None
    """The nominal teacher share under which this was rolled out; None where the mixture has none."""
    error: str | None = None
    """For an `infra_error`: what failed."""
    attempts: int = 1
    usage: Mapping[str, Usage] = field(default_factory=dict, compare=False)
    """What asking `student` and `teacher` cost, in all attempts."""

    def __post_init__(self) -> None:
        """Raises ValueError: a turn opens its state with a turn that is not an earlier one."""
        for number, turn in enumerate(self.turns):
            if turn.opening is not None:
                turn.opening.check(number)

    @property
    def submitted(self) -> bool:
        """Did the agent leave something to be judged? As its world says in the verdict's details under `submitted`;
        where it does not say: did the agent finish?"""
        if self.verdict is None:
            return False
        told = self.verdict.details.get("submitted")
        return told if isinstance(told, bool) else self.stop_reason is StopReason.finished

    def state(self, turn: int) -> State:
        """The state in which turn `turn` (from 0) was taken: prompt and executed history, never a label. One more than
        the last turn: what that led to."""
        messages, tools = self._history(turn)
        form = self.turns[turn].form if turn < len(self.turns) else ANY_FORM
        return State(messages=tuple(map(self._message, messages)), tools=tools, form=form)

    def history(self, turn: int) -> tuple[Message | int, ...]:
        """The messages of `state(turn)`; a number stands for the executed action of that turn."""
        return tuple(self._history(turn)[0])

    def _history(self, turn: int) -> tuple[list[Message | int], tuple[ToolSpecification, ...]]:
        """The messages of a state as `history` gives them, and the tools on offer."""
        stretches: list[tuple[int, int]] = []
        last: int | None = turn
        while last is not None:
            first = last
            while first > 0 and self._opening(first) is None:
                first -= 1
            stretches.append((first, last))
            last = None if (opening := self._opening(first)) is None else opening.after
        messages: list[Message | int] = []
        tools = self.tools
        for first, last in reversed(stretches):
            if (opening := self._opening(first)) is None:
                messages += self.prompt
            else:
                messages = [*messages[: opening.shared], *opening.messages]
                tools = tools if opening.tools is None else opening.tools
            # Another stretch goes on from what the last turn of this one led to.
            for number in range(first, last if last == turn else last + 1):
                messages.append(number)
                messages += self.turns[number].observation
        return messages, tools

    def _opening(self, turn: int) -> Opening | None:
        return self.turns[turn].opening if turn < len(self.turns) else None

    def _message(self, each: Message | int) -> Message:
        return self.turns[each].action.message if isinstance(each, int) else each

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "task_id": self.task_id,
            "iteration": self.iteration,
            "seed": self.seed,
            "beta": self.beta,
            "stop_reason": self.stop_reason.value,
            "verdict": None if self.verdict is None else self.verdict.to_json(),
            "error": self.error,
            "attempts": self.attempts,
            **({"usage": {who: used.to_json() for who, used in self.usage.items()}} if self.usage else {}),
            "tools": [tool.to_json()["function"] for tool in self.tools],
            "prompt": [message.to_json() for message in self.prompt],
            "turns": [turn.to_json() for turn in self.turns],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trajectory:
        return cls(
            id=data["id"],
            task_id=data["task_id"],
            iteration=data["iteration"],
            seed=data["seed"],
            beta=data["beta"],
            stop_reason=StopReason(data["stop_reason"]),
            verdict=None if data["verdict"] is None else Verdict.from_json(data["verdict"]),
            error=data["error"],
            attempts=data["attempts"],
            usage=usage_from_json(data.get("usage", {})),
            tools=tuple(ToolSpecification(**tool) for tool in data["tools"]),
            prompt=tuple(Message.from_json(message) for message in data["prompt"]),
            turns=tuple(Turn.from_json(turn) for turn in data["turns"]),
        )
