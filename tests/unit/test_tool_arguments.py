"""What a model writes as a call's arguments, against the annotations of the tool's `call`."""

import asyncio
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from turnmix.scaffold.arguments import ArgumentError
from turnmix.scaffold.think import Finish
from turnmix.scaffold.tool import Tool, ToolParts
from turnmix.scaffold.tool_call import answer, signature


class Colour(Enum):
    red = "red"
    blue = "blue"


class Point(BaseModel):
    x: int
    inner: "Point | None" = None

    @field_validator("x")
    @classmethod
    def _is_even(cls, x):
        if x % 2:
            raise ValueError("write an even number")
        return x


class Measure(Tool):
    """Measure."""

    kind: Literal["measure"] = "measure"

    async def call(
        self,
        text: str,
        count: int | None = None,
        seconds: float | None = None,
        flag: Literal["true", "false"] | None = None,
        lines: list[int] | None = None,
        really: bool = False,
        options: dict[str, Any] | None = None,
        either: int | list[str] | None = None,
        point: Point | None = None,
        colour: Colour = Colour.red,
        anything: Any = None,
        items: list[Any] | None = None,
        pair: tuple[int, str] | None = None,
        json: Annotated[int, Field(ge=1, le=3)] = 1,
    ):
        return {}


TOOL = Measure()


def read(**arguments):
    return TOOL.arguments.read(arguments)


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("count", "12", 12),
        ("count", 3.0, 3),
        ("count", "-1", -1),
        ("count", "9007199254740993", 2**53 + 1),
        ("seconds", "1.5", 1.5),
        ("seconds", 2, 2.0),
        ("flag", True, "true"),
        ("flag", False, "false"),
        ("text", 5, "5"),
        ("lines", "[1, 20]", [1, 20]),
        ("lines", ["1", -1.0], [1, -1]),
        ("really", "True", True),
        ("options", {"a": [1]}, {"a": [1]}),
        ("options", '{"a": [1]}', {"a": [1]}),
        ("either", "7", 7),
        ("either", ["a", 1], ["a", "1"]),
        ("either", '["a"]', ["a"]),
        ("point", {"x": "2", "inner": {"x": 4}}, Point(x=2, inner=Point(x=4))),
        ("point", '{"x": 2}', Point(x=2)),
        ("colour", "blue", Colour.blue),
        ("anything", [{"a": None}], [{"a": None}]),
        ("items", [1, "a", None], [1, "a", None]),
        ("json", "3", 3),
        ("really", None, False),
        ("anything", {"a\ud83d": ["\udcff"]}, {"a\ufffd": ["\ufffd"]}),
        ("count", None, None),
    ],
)
def test_a_value_that_can_mean_one_thing_only_is_accepted(name, written, meant):
    assert read(**{"text": "t", name: written})[name] == meant


DEEP: object = 0
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "Missing argument: text."),
        ({"text": None}, "Missing argument: text."),
        ({"text": "t", "shape": 1}, "Unknown argument 'shape'. The arguments are: text, count,"),
        ({"text": {"a": 1}}, "`text` must be of type string, not object."),
        ({"text": 10**5000}, "`text` must be of type string, not integer."),
        ({"text": "t", "count": "two"}, "`count` must be of type integer, not string 'two'."),
        ({"text": "t", "count": 1.5}, "`count` must be of type integer, not number."),
        ({"text": "t", "count": True}, "`count` must be of type integer, not boolean."),
        ({"text": "t", "seconds": float("nan")}, "`seconds` must be of type number"),
        ({"text": "t", "seconds": 10**400}, "`seconds` must be of type number"),
        ({"text": "t", "flag": "maybe"}, "`flag` must be one of true, false, not 'maybe'."),
        ({"text": "t", "lines": "1-20"}, "`lines` must be of type array, not string '1-20'."),
        ({"text": "t", "lines": "[" * 100_000}, "`lines` must be of type array"),
        ({"text": "t", "lines": [1, None]}, "`lines[1]` must be of type integer, not null."),
        ({"text": "t", "lines": [1] * 50 + ["x"]}, "`lines[50]` must be of type integer, not string 'x'."),
        ({"text": "t", "options": "none"}, "`options` must be of type object, not string 'none'."),
        ({"text": "t", "either": {}}, "`either` must be of type integer or array, not object."),
        ({"text": "t", "either": [{}]}, "`either[0]` must be of type string, not object."),
        ({"text": "t", "point": {"x": "a"}}, "`point.x` must be of type integer, not string 'a'."),
        ({"text": "t", "point": {}}, "`point.x` must be given."),
        ({"text": "t", "point": {"x": 2, "inner": {"x": 3}}}, "`point.inner.x`: write an even number"),
        ({"text": "t", "colour": "green"}, "`colour` must be one of red, blue, not 'green'."),
        ({"text": "t", "pair": [1]}, "`pair[1]` must be given."),
        ({"text": "t", "json": 4}, "`json` must be less than or equal to 3."),
        ({"text": "t", "anything": DEEP}, "`anything` is nested deeper than 32 levels."),
        (["t"], "The arguments must be an object, not array."),
        (None, "The arguments must be an object, not null."),
        ("{}", "The arguments must be an object, not string."),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(arguments, complaint):
    with pytest.raises(ArgumentError) as wrong:
        TOOL.arguments.read(arguments)
    assert complaint in str(wrong.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "a"]), inner),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(arguments=st.dictionaries(st.sampled_from([*TOOL.arguments.schema["properties"]]), VALUES))
def test_whatever_a_model_writes_is_answered_in_printable_text(arguments):
    answered = asyncio.run(answer(TOOL.opened(ToolParts(sandbox=None, working_directory="/")), arguments))
    assert answered.fault is None
    answered.content.encode()


def test_the_schema_shows_each_argument_as_it_is_where_it_is_given():
    properties = TOOL.arguments.schema["properties"]
    assert TOOL.arguments.schema["required"] == ["text"]
    assert properties["lines"] == {"type": "array", "items": {"type": "integer"}}
    assert properties["flag"] == {"type": "string", "enum": ["true", "false"]}
    assert properties["either"] == {
        "anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]
    }
    assert properties["colour"] == {"type": "string", "enum": ["red", "blue"], "default": "red"}
    assert properties["anything"] == {}
    assert properties["json"] == {"type": "integer", "minimum": 1, "maximum": 3, "default": 1}
    assert properties["point"]["properties"]["x"] == {"type": "integer"}
    assert TOOL.arguments.schema["$defs"]["Point"]["required"] == ["x"]  # it holds itself


def test_a_signature_puts_the_required_arguments_first():
    assert signature(TOOL.specification).startswith("measure(text, [count], [seconds], [flag]")


def test_a_refused_call_is_answered_with_what_is_expected():
    tool = Finish().opened(ToolParts(sandbox=None, working_directory="/"))
    answered = asyncio.run(answer(tool, {"msg": "done"}))
    assert answered.content.startswith("ERROR: Unknown argument 'msg'.")
    assert answered.content.endswith("Expected: finish(message)")
    assert not answered.ends_trajectory
