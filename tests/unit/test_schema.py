"""Tools with any JSON schema: what is told wrong, what is put right, and nothing crashes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action
from turnmix.rendering.formats import HermesFormat, Qwen3CoderFormat, example_call
from turnmix.rendering.malformed import malformed
from turnmix.rendering.mending import mended
from turnmix.rendering.schema import object_schema
from turnmix.scaffold.text_calls import tools_in, tools_told

LINE = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
REFERRED = {"$defs": {"Line": LINE}, "properties": {"at": {"$ref": "#/$defs/Line"}}}
RECURSIVE = {
    "$defs": {"Tree": {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Tree"}}}},
    "properties": {"at": {"$ref": "#/$defs/Tree"}},
}


def at(schema):
    return {"type": "object", "properties": {"at": schema}}


def taught(parameters, **arguments):
    """The call as it would be learned, and what is wrong with it."""
    tools = (ToolSpecification(name="look", description="", parameters=parameters),)
    call = ToolCall(id="call_0", name="look", arguments=arguments)
    action = mended(Action(message=Message(role="assistant", content="", tool_calls=(call,))), tools)
    wrong = malformed(action, tools)
    return action.message.tool_calls[0].arguments, wrong.reason if wrong else None


@pytest.mark.parametrize(
    ("parameters", "written", "meant"),
    [
        (at({"type": "object"}), {"a": 1}, {"a": 1}),
        (at({"type": "object"}), '{"a": 1}', {"a": 1}),
        (at({"type": "array"}), "[1, 2]", [1, 2]),
        (at({"anyOf": [{"type": "integer"}, {"type": "null"}]}), "3", 3),
        (at({"oneOf": [{"type": "integer"}, {"type": "string"}]}), "3", "3"),
        (at({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}), ["1"], [1]),
        (at({"type": ["integer", "null"]}), None, None),
        (at({"type": "string", "enum": ["a"], "nullable": True}), None, None),
        (at({"const": 5}), "5", 5),
        (at({"enum": [1, 2]}), "2", 2),
        (at({"enum": [1, 2]}), 2, 2),
        (at({}), [1, "a", {}], [1, "a", {}]),
        (at(True), "x", "x"),
        (at({"$ref": "https://elsewhere/schema"}), "x", "x"),
        (at({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}), ["1", 2], [1, "2"]),
        (at({"type": "object", "additionalProperties": {"type": "integer"}}), {"a": "1"}, {"a": 1}),
        (at({"allOf": [LINE, {"properties": {"text": {"type": "string"}}}]}), {"number": "1"}, {"number": 1}),
        (REFERRED, {"number": "1"}, {"number": 1}),
        (RECURSIVE, {"inner": {"inner": {}}}, {"inner": {"inner": {}}}),
        ({"properties": {}, "additionalProperties": {}}, 1, 1),
        ({"$ref": "#/$defs/Call", "$defs": {"Call": at({"type": "integer"})}}, "1", 1),
        ({"anyOf": [at({"type": "integer"}), at({"type": "boolean"})]}, "true", True),
        ({}, 1, 1),
        ({"properties": None, "required": None}, 1, 1),
    ],
)
def test_a_call_that_its_schema_allows_is_taught_in_the_types_of_the_schema(parameters, written, meant):
    assert taught(parameters, at=written) == ({"at": meant}, None)


@pytest.mark.parametrize(
    ("parameters", "written", "reason"),
    [
        (at({"type": "object"}), "text", "argument_of_another_type"),
        (at({"anyOf": [{"type": "integer"}, {"type": "null"}]}), "three", "argument_of_another_type"),
        (at({"const": 1}), True, "argument_of_another_type"),
        (at({"type": "number"}), float("nan"), "argument_of_another_type"),
        (REFERRED, {"number": "x"}, "argument_of_another_type"),
        (REFERRED, {}, "argument_of_another_type"),
        (at({**LINE, "additionalProperties": False}), {"number": 1, "b": 1}, "argument_of_another_type"),
        ({"properties": {"by": {}}}, 1, "unknown_argument"),
        ({"properties": {"at": {}, "by": {}}, "required": ["by"]}, 1, "missing_argument"),
    ],
)
def test_a_call_that_its_schema_refuses_is_not_taught(parameters, written, reason):
    assert taught(parameters, at=written)[1] == reason


def test_a_value_written_as_text_is_read_as_what_a_reference_says():
    text = (
        '<tool_call>\n<function=look>\n<parameter=at>\n{"number": 1}\n</parameter>\n</function>\n</tool_call>'
    )
    tools = (ToolSpecification(name="look", description="", parameters=REFERRED),)
    assert Qwen3CoderFormat().parse(text, tools).tool_calls[0].arguments == {"at": {"number": 1}}


def test_what_lies_deeper_than_any_call_may_is_left_as_it_is():
    deep = value = {}
    for _ in range(90):
        value["inner"] = {}
        value = value["inner"]
    assert taught(RECURSIVE, at=deep)[1] is None
    looped = {"$ref": "#/properties/at", "properties": {"at": {"$ref": "#/properties/at"}}}
    assert taught(looped, at=1) == ({"at": 1}, None)


def test_a_schema_of_endless_combinations_is_answered_at_once():
    defined = {"s0": {"type": "integer"}}
    for depth in range(30):
        below = {"anyOf": [{"$ref": f"#/$defs/s{depth}"}, {"type": "boolean", "title": f"{depth}"}]}
        defined[f"s{depth + 1}"] = {"allOf": [below, {"anyOf": [below, {"type": "string"}]}]}
    assert taught({**at({"$ref": "#/$defs/s30"}), "$defs": defined}, at="1")[1] is None
    node = {"type": "object", "properties": {"inner": {"$ref": "#/$defs/Node"}}}
    forks = {"$defs": {"Node": {"anyOf": [{**node, "title": f"{each}"} for each in range(4)]}}}
    value = {"inner": "wrong"}
    for _ in range(25):
        value = {"inner": value}
    assert taught({**at({"$ref": "#/$defs/Node"}), **forks}, at=value)[1] in (
        None,
        "argument_of_another_type",
    )


NAMES = st.sampled_from(["at", "x"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
WORDS = (
    "type anyOf oneOf allOf $ref items properties required enum const nullable additionalProperties prefixItems "
    "description default $defs"
)
KEYS = st.sampled_from(WORDS.split())
TYPES = st.sampled_from(
    ["string", "integer", "number", "boolean", "array", "object", "null", "any", "#", "#/$defs/x"]
)
SCHEMAS = st.recursive(
    JSON | TYPES,
    lambda inner: st.dictionaries(KEYS | NAMES, inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(parameters=st.dictionaries(KEYS, SCHEMAS, max_size=4), value=JSON)
def test_no_schema_and_no_value_crash_what_reads_teaches_and_tells(parameters, value):
    taught(parameters, at=value)
    tools = (ToolSpecification(name="look", description="", parameters=parameters),)
    assert example_call(tools).name in ("look", "TOOL_NAME")
    assert object_schema(parameters).properties is not None
    for format in (HermesFormat(), Qwen3CoderFormat()):
        call = ToolCall(id="call_0", name="look", arguments={"at": value})
        format.parse(format.write(call), tools)
    told = Message(role="system", content=tools_told(tools))
    assert [tool.name for tool in tools_in((told,))] == ["look"]
