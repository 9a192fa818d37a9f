"""The form that a scaffold wants of an answer, as an endpoint is told it, and held to where it does not heed it.

In: an `AnswerForm`. Out: fields of a request, over which what the policy sets itself is laid; the answer, ended before
its stop text.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from turnmix.core.answer_form import PASSED_ON, AnswerForm
from turnmix.core.trajectory import Action
from turnmix.rendering.stop_texts import before_stop

_MOST_STOP_TEXTS = 4
"""That the strictest providers take; an answer is ended at the others here."""


def form_fields(form: AnswerForm, *, has_tools: bool) -> dict[str, Any]:
    """Of OpenAI's chat completions. Without tools there is nothing to choose, and providers refuse to be told."""
    fields: dict[str, Any] = {name: form.others[name] for name in sorted(PASSED_ON & form.others.keys())}
    if form.response_format is not None:
        fields["response_format"] = form.response_format
    if form.stop:
        fields["stop"] = list(form.stop[:_MOST_STOP_TEXTS])
    if has_tools and form.tool_choice is not None:
        fields["tool_choice"] = form.tool_choice
    if has_tools and form.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = form.parallel_tool_calls
    return fields


def ended(action: Action, form: AnswerForm) -> Action:
    """The action before its stop text. Calls stand behind the text: then there are none. A stop text that the endpoint
    names is one of the form's own, or none."""
    before = before_stop(action.message.content, form.stop)
    if before is not None:
        message = replace(action.message, content=before[0], tool_calls=())
        return replace(action, message=message, parse_error=None, stop_text=before[1])
    return action if action.stop_text in (None, *form.stop) else replace(action, stop_text=None)
