"""What goes out for an action: a message with ids of the session's own, counted in the student's tokens."""

from __future__ import annotations

import contextlib
import secrets
import time

from turnmix.core.in_thread import in_thread_if
from turnmix.core.trajectory import Action, State
from turnmix.gateway.model_request import Finish, ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.session.ids import CallIds
from turnmix.gateway.session.line import GivenAnswer, SessionTurn
from turnmix.gateway.session.session_parts import SessionParts
from turnmix.policies.unfinished_answer import is_unfinished
from turnmix.rendering.work import is_long_work


class Answers:
    """Those of one session."""

    def __init__(self, parts: SessionParts, ids: CallIds) -> None:
        self._parts = parts
        self._ids = ids
        self._nonce = secrets.token_hex(8)

    def refuse(self, request: ModelRequest) -> None:
        """Raises RequestError: it wants what the answers of this session do not have."""
        if request.wants_logprobs and not self._parts.gives_logprobs:
            told = "logprobs: the models behind this gateway do not tell them: leave it out"
            raise RequestError("invalid_request", told, parameter="logprobs")

    def count_ahead(self, turn: SessionTurn, state: State) -> None:
        """Count the prompt while the teacher is asked, which tells none of the student's tokens. What is long is
        counted in a thread, behind the answer."""
        if turn.actor == "teacher" and turn.prompt_tokens is None and not is_long_work(state):
            # Whoever waits for the answer hears why it cannot be counted.
            with contextlib.suppress(Exception):
                turn.prompt_tokens = self._parts.count.prompt(state)

    async def given(self, turn: SessionTurn, state: State, action: Action) -> GivenAnswer:
        """What goes out for `action` in `state`."""
        count = self._parts.count
        if action.token_ids is not None and action.prompt_tokens is not None:
            prompt_tokens, completion_tokens = action.prompt_tokens, len(action.token_ids)
        else:
            known = turn.prompt_tokens
            prompt_tokens, completion_tokens = await in_thread_if(
                known is None and is_long_work(state),
                lambda: (count.prompt(state) if known is None else known, count.answer(action)),
            )
        finish: Finish = "tool_calls" if action.message.tool_calls else "stop"
        return GivenAnswer(
            id=f"answer_{self._nonce}_{turn.number}",
            created=int(time.time()),
            action=action,
            sent=self._ids.outgoing(action.message, turn=turn.number),
            finish="length" if is_unfinished(action) else finish,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )

    def written(self, given: GivenAnswer, request: ModelRequest) -> ModelAnswer:
        """The same as the answer to `request`, which may be the second one that gets it."""
        return ModelAnswer(
            id=given.id,
            model=request.model,
            created=given.created,
            message=given.sent,
            finish=given.finish,
            prompt_tokens=given.prompt_tokens,
            completion_tokens=given.completion_tokens,
            stop_text=given.action.stop_text,
            tokens=self._parts.count.tokens(given.action) if request.wants_logprobs else None,
        )
