"""Checking a call's arguments against its tool's schema."""

import asyncio

import pytest

from turnmix.core.message import ToolSpecification
from turnmix.scaffold.think import Finish
from turnmix.scaffold.tool import ArgumentError, answer, check_arguments, signature

SPECIFICATION = ToolSpecification(
    name="tool",
    description="",
    parameters={
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "count": {"type": "integer"},
            "seconds": {"type": "number"},
            "flag": {"type": "string", "enum": ["true", "false"]},
            "lines": {"type": "array", "items": {"type": "integer"}},
            "really": {"type": "boolean"},
        },
        "required": ["text"],
    },
)


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("count", "12", 12),
        ("count", 3.0, 3),
        ("count", "-1", -1),
        ("seconds", "1.5", 1.5),
        ("seconds", 2, 2.0),
        ("flag", True, "true"),
        ("flag", False, "false"),
        ("text", 5, "5"),
        ("lines", "[1, 20]", [1, 20]),
        ("lines", ["1", -1.0], [1, -1]),
        ("really", "True", True),
    ],
)
def test_a_value_that_can_mean_one_thing_only_is_accepted(name, written, meant):
    assert check_arguments(SPECIFICATION, {"text": "t", name: written})[name] == meant


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({}, "Missing argument: text."),
        ({"text": None}, "Missing argument: text."),
        ({"text": "t", "colour": 1}, "Unknown argument 'colour'. The arguments are: text, count,"),
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
        (["t"], "The arguments must be an object, not array."),
        (None, "The arguments must be an object, not null."),
    ],
)
def test_a_wrong_call_is_told_what_is_wrong(arguments, complaint):
    with pytest.raises(ArgumentError) as wrong:
        check_arguments(SPECIFICATION, arguments)
    assert complaint in str(wrong.value)


def test_null_counts_as_absent():
    assert check_arguments(SPECIFICATION, {"text": "t", "count": None}) == {"text": "t"}


def test_a_signature_puts_the_required_arguments_first():
    assert signature(SPECIFICATION) == "tool(text, [count], [seconds], [flag], [lines], [really])"


def test_a_refused_call_is_answered_with_what_is_expected():
    observation = asyncio.run(answer(Finish(), {"msg": "done"}))
    assert observation.startswith("ERROR: Unknown argument 'msg'.")
    assert observation.endswith("Expected: finish(message)")
