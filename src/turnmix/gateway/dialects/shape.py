"""The shape of a request, checked. In: a body and a pydantic model. Out: the model's object; or a `RequestError` that
names the field, its value and the fix.

Half of a surrogate pair becomes U+FFFD, in all of a body: no such text can be stored, nor sent on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from turnmix.core.json_text import MOST_LEVELS_IN_A_RECORD, json_text, json_value, nests_over
from turnmix.gateway.model_request import RequestError
from turnmix.rendering.arguments import without_surrogates


class Shape(BaseModel):
    """An object in a request. What it holds beside its fields does not matter."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class Body(Shape):
    """A whole request: parameters that are no fields are kept."""

    model_config = ConfigDict(extra="allow")


AnyShape = TypeVar("AnyShape", bound=Shape)

_TEXTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Kinds of parts, and where their text is."""
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text", "summary_text")
_WORDS = {
    "string_type": "give a text",
    "string_too_short": "give a text that is not empty",
    "int_type": "give an integer",
    "bool_type": "give true or false",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "list_type": "give a list",
    "too_short": "give at least one",
    "dict_type": "give an object",
    "model_type": "give an object",
    "model_attributes_type": "give an object",
}


def checked(shape: type[AnyShape], body: Mapping[str, Any]) -> AnyShape:
    """The body as its shape.

    Raises:
        RequestError: it has another one.
    """
    try:
        return shape.model_validate(body)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    if any(mistake["type"] == "string_unicode" for mistake in mistakes):
        return checked(shape, json_value(without_surrogates(json_text(body, ensure_ascii=False))))
    raise _refusal(mistakes[0], body)


def whole(text: str) -> str:
    """A text that can be stored. Raises PydanticCustomError: half of a surrogate pair is in it."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("string_unicode", "half of a surrogate pair") from None
    return text


def plain(value: Any) -> Any:
    """A JSON value that can be part of a record. Raises PydanticCustomError: it cannot."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "half of a surrogate pair") from None
    except (ValueError, TypeError, RecursionError):
        raise PydanticCustomError("json", "give finite numbers, and no deep nesting") from None
    if text.count("[") + text.count("{") > MOST_LEVELS_IN_A_RECORD and nests_over(
        MOST_LEVELS_IN_A_RECORD, value
    ):
        raise PydanticCustomError(
            "json", "nest at most {levels} levels deep", {"levels": MOST_LEVELS_IN_A_RECORD}
        )
    return value


def text_of(content: Any) -> Any:
    """The text of a content that is one, or a list of parts: a line break stands between two. Thoughts are left out."""
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else part
        if isinstance(kind, str) and kind in _THOUGHTS:
            continue
        name = _TEXTS.get(kind) if isinstance(part, dict) and isinstance(kind, str) else None
        if name is None:
            fix = "the gateway reads text alone, no images, audio or files: give a part of type text"
            raise PydanticCustomError("part", "{fix}", {"fix": fix, "at": f"[{number}].type", "value": kind})
        if not isinstance(text := part.get(name), str):
            raise PydanticCustomError(
                "part", "{fix}", {"fix": "give a text", "at": f"[{number}].{name}", "value": text}
            )
        texts.append(text)
    return texts[0] if len(texts) == 1 else "\n".join(text for text in texts if text)


def _text_or_none(content: Any) -> Any:
    return "" if content is None else text_of(content)


def type_of(value: Any) -> Any:
    """By which a union of texts and objects is told apart."""
    return "text" if isinstance(value, str) else value.get("type") if isinstance(value, dict) else None


String = Annotated[str, AfterValidator(whole)]
PlainObject = Annotated[dict[str, Any], AfterValidator(plain)]
Text = Annotated[String, BeforeValidator(text_of)]
OptionalText = Annotated[String, BeforeValidator(_text_or_none)]


def _refusal(mistake: ErrorDetails, body: Mapping[str, Any]) -> RequestError:
    context = mistake.get("ctx", {})
    value = mistake["input"]
    path = _path(mistake["loc"], body)
    kind = mistake["type"]
    fix = _WORDS.get(kind) or mistake["msg"][:1].lower() + mistake["msg"][1:]
    is_missing = kind == "missing"
    if is_missing:
        path = f"{path}.{mistake['loc'][-1]}".removeprefix(".")
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        told = str(context.get("discriminator", ""))
        name = told.strip("'") if told.startswith("'") else "type"
        if isinstance(value, Mapping):
            is_missing = name not in value
            path, value = f"{path}.{name}", value.get(name)
        fix = f"give one of {context['expected_tags']}" if "expected_tags" in context else "give an object"
    elif kind == "literal_error":
        fix = f"give {context['expected']}"
    elif kind == "part":
        path, value = path + str(context["at"]), context["value"]
    path = path or "body"
    told = f"{path}: missing: give it" if is_missing else f"{path}: {shown(value)}: {fix}"
    return RequestError("invalid_request", told, parameter=path)


def shown(value: Any) -> str:
    """A value as an error names it, short.

    >>> shown("x" * 1000)[:8], shown([1]), shown(None), shown(3)
    ("'xxxxxxx", 'a list', 'null', '3')
    """
    if isinstance(value, str):
        return repr(value[:80])
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, Sequence):
        return "a list"
    return json_text(value)[:80] if value is None or isinstance(value, bool | int | float) else "this"


def _path(location: Sequence[int | str], body: Any) -> str:
    """Where in the body: of the location, which also names branches of unions, what leads through it."""
    path = ""
    here = body
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
            here = here[step] if isinstance(here, list) and step < len(here) else None
        elif isinstance(here, Mapping) and step in here:
            path += f".{step}"
            here = here[step]
    return path.removeprefix(".")
