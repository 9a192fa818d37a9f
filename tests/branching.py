"""Trajectories of scaffolds that condense, branch and have sub-agents, beside the states that each turn was asked
in."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from turnmix.core.message import Message, ToolSpecification
from turnmix.core.opening import Opening
from turnmix.core.trajectory import Action, State, StopReason, Trajectory, Turn

TOOL_LISTS = tuple(
    tuple(ToolSpecification(name=name, description="", parameters={"type": "object"}) for name in names)
    for names in ((), ("bash",), ("bash", "ask"))
)


def user(text: str) -> Message:
    return Message(role="user", content=text)


def answered(text: str) -> Action:
    """What a student sampled, in tokens of its own."""
    tokens = tuple(map(ord, text))
    return Action(
        message=Message(role="assistant", content=text), token_ids=tokens, logprobs=(-0.5,) * len(tokens)
    )


@dataclass
class Recorded:
    """A scaffold's session as it goes on: `asked` holds the state of each turn, written out."""

    tools: tuple[ToolSpecification, ...] = ()
    prompt: tuple[Message, ...] = (user("task"),)
    turns: list[Turn] = field(default_factory=list)
    asked: list[State] = field(default_factory=list)
    says: Callable[[str], Action] = answered
    label: Callable[[int], Action | None] = lambda number: None

    def turn(self, opening: Opening | None, state: State, *, rejected: bool = False, **known) -> int:
        """Record a turn in `state`, which is what `opening` says; its number."""
        number = len(self.turns)
        turn = Turn(
            actor="student",
            action=self.says(f"action {number}"),
            label=self.label(number),
            observation=() if rejected else (user(f"seen {number}"),),
            opening=opening,
            form=state.form,
            is_rejected=rejected,
        )
        self.turns.append(replace(turn, **known))
        self.asked.append(state)
        return number

    def led_to(self, number: int | None) -> tuple[Message, ...]:
        """The messages after turn `number`; None: none."""
        if number is None:
            return ()
        turn = self.turns[number]
        return (*self.asked[number].messages, turn.action.message, *turn.observation)

    def begin(self) -> int:
        return self.turn(None, State(messages=self.prompt, tools=self.tools))

    def go_on(self, after: int, **known) -> int:
        """A turn that follows turn `after`; without an opening where that is the last one."""
        opening = None if after == len(self.turns) - 1 else Opening(after=after)
        return self.turn(opening, replace(self.asked[after], messages=self.led_to(after)), **known)

    def open(
        self,
        after: int | None,
        *messages: Message | int,
        shared: int | None = None,
        tools: tuple[ToolSpecification, ...] | None = None,
        **known,
    ) -> int:
        """A turn whose state is part of what turn `after` led to, and `messages`."""
        opening = Opening(after=after, shared=shared, messages=messages, tools=tools)
        told = (self.turns[each].action.message if isinstance(each, int) else each for each in messages)
        before = self.tools if after is None else self.asked[after].tools
        state = State(
            messages=(*self.led_to(after)[:shared], *told), tools=before if tools is None else tools
        )
        return self.turn(opening, state, **known)

    def trajectory(self, **known) -> Trajectory:
        base = Trajectory(
            id="t1",
            task_id="t",
            iteration=1,
            seed=0,
            tools=self.tools,
            prompt=self.prompt,
            turns=tuple(self.turns),
            stop_reason=StopReason.finished,
            verdict=None,
        )
        return replace(base, **known)


def condensing(**known) -> Recorded:
    """Three turns, a summary of them that keeps the last one, and two more turns."""
    made = Recorded(**known)
    number = made.begin()
    for _ in range(2):
        number = made.go_on(number)
    number = made.open(None, made.prompt[0], user("summary"), number, user("seen 2"))
    made.go_on(number)
    return made


def branching(**known) -> Recorded:
    """Two turns; the first one tried again twice, once from its own state, where the first answer was used none the
    less; the second one's answer is rejected for another."""
    made = Recorded(**known)
    first = made.begin()
    made.go_on(first)
    made.open(first, user("another way"), shared=1)
    made.go_on(first, rejected=True)
    last = made.go_on(first)
    made.go_on(last)
    return made


def with_sub_agent(**known) -> Recorded:
    """A sub-agent with tools of its own, whose turns come between those of the main line."""
    made = Recorded(tools=TOOL_LISTS[2], **known)
    main = made.begin()
    sub = made.open(None, user("look for it"), tools=TOOL_LISTS[1])
    main = made.go_on(main)
    sub = made.go_on(sub)
    main = made.go_on(main)
    made.go_on(sub)
    made.go_on(main)
    return made


def at_random(seed: int, **known) -> Recorded:
    """Any of these, one after the other."""
    draw = random.Random(seed)
    made = Recorded(
        tools=draw.choice(TOOL_LISTS), prompt=(user("task"), user("more"))[: draw.randint(0, 2)], **known
    )
    if draw.random() < 0.2:
        made.open(None, user("first"))
    else:
        made.begin()
    for step in range(draw.randint(0, 14)):
        past = draw.randrange(len(made.turns))
        kind = draw.choice(("on", "on", "on", "back", "part", "anew"))
        if kind == "on":
            made.go_on(len(made.turns) - 1)
        elif kind == "back":
            made.go_on(past, rejected=draw.random() < 0.3)
        else:
            new = [user(f"new {step}.{each}") for each in range(draw.randint(0, 2))]
            used = [draw.randrange(len(made.turns)) for _ in range(draw.randint(0, 2))]
            messages = draw.sample([*new, *used], len(new) + len(used))
            shared = draw.randint(0, len(made.led_to(past)) + 1) if kind == "part" else None
            tools = draw.choice((None, *TOOL_LISTS))
            made.open(past if kind == "part" else None, *messages, shared=shared, tools=tools)
    return made


SCAFFOLDS = {"condensing": condensing, "branching": branching, "sub-agent": with_sub_agent}
