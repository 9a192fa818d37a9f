"""Turns as a student may sample them, with tokens of their own, and rollouts made of them."""

from __future__ import annotations

import json
from dataclasses import replace

from chat_models import TOOLS, answer, conversation
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn


def spelled(tokenizer, text: str) -> tuple[int, ...]:
    """`text` in more tokens than the tokenizer would choose: character by character, then the end of turn."""
    ids = [index for letter in text for index in tokenizer(letter, add_special_tokens=False).input_ids]
    return (*ids, tokenizer.eos_token_id)


def sampled(renderer, tokenizer, text: str) -> Action:
    """The action of a student that sampled `text` in unusual tokens."""
    return renderer.parse(spelled(tokenizer, text), TOOLS)


def said(message: Message) -> Action:
    """The action of a teacher, of whose tokens nothing is known."""
    return Action(message=message)


def student_turn(action: Action, *observation: Message, label: Action | None = None) -> Turn:
    return Turn(actor="student", action=action, observation=observation or (answer("1 line"),), label=label)


def teacher_turn(action: Action, *observation: Message) -> Turn:
    return Turn(actor="teacher", action=action, observation=observation or (answer("1 line"),), label=action)


def rollout(*turns: Turn, name: str = "t1") -> Trajectory:
    return Trajectory(
        id=name,
        task_id="t",
        iteration=1,
        seed=0,
        tools=TOOLS,
        prompt=conversation().messages,
        turns=turns,
        stop_reason=StopReason.finished,
        verdict=None,
    )


def stored(trajectory: Trajectory) -> Trajectory:
    """The trajectory as a store gives it back."""
    return Trajectory.from_json(json.loads(json.dumps(trajectory.to_json())))


def with_call_answered(*contents: str) -> tuple[Message, ...]:
    """One tool message for each content, to the calls in order."""
    return tuple(
        replace(answer(content), tool_call_id=f"call_{index}") for index, content in enumerate(contents)
    )
