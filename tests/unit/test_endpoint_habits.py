"""What an endpoint wants back, what it wants otherwise, and how its rate limit is waited out."""

import asyncio
import random

import pytest

from turnmix.core.message import Message, ProviderFields, ToolCall
from turnmix.core.trajectory import Action
from turnmix.policies.endpoint.dialect import Dialect
from turnmix.policies.endpoint.history import wire_messages
from turnmix.policies.endpoint.route import proxy_for
from turnmix.policies.endpoint.settings import AskingSettings
from turnmix.policies.endpoint.throttle import Throttle

CALL = ToolCall(id="tool_0_ls", name="ls", arguments={})
FIELDS = ProviderFields(
    provider="m at u", message={"reasoning_content": "hm"}, calls=({"extra_content": {"signed": 1}},)
)
OWN = Message(role="assistant", content="", tool_calls=(CALL,), provider_fields=FIELDS)


def test_what_a_provider_sent_with_a_turn_goes_back_to_it_alone():
    history = [OWN, Message(role="tool", content="a.py", tool_call_id="tool_0_ls")]
    own, answer = wire_messages(history, provider="m at u")
    assert (own["reasoning_content"], own["tool_calls"][0]["extra_content"]) == ("hm", {"signed": 1})
    assert own["tool_calls"][0]["id"] == answer["tool_call_id"] == "tool_0_ls"
    other, answer = wire_messages(history, provider="n at u")
    assert "reasoning_content" not in other
    assert "extra_content" not in other["tool_calls"][0]
    assert other["tool_calls"][0]["id"] == answer["tool_call_id"] == "call00000"


def test_it_is_stored_with_the_action_and_is_no_part_of_the_message_that_students_see():
    action = Action.from_json(Action(message=OWN).to_json())
    assert action.message.provider_fields == FIELDS
    assert action.message.to_json().keys() == {"role", "content", "tool_calls"}


def test_beside_calls_an_empty_text_is_null():
    (wire,) = wire_messages([OWN], provider="n at u")
    assert wire["content"] is None


@pytest.mark.parametrize(
    ("refusal", "changed"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.", "max_tokens"),
        ("Unsupported value: 'temperature' does not support 0.7 with this model. Only the default", "temperature"),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.", "top_p"),
        ('[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted"}]', "seed"),
        ('Invalid JSON payload received. Unknown name "seed": Cannot find field.', "seed"),
    ],
)  # fmt: skip
def test_a_parameter_that_is_refused_is_settled_once(refusal, changed):
    body = {"model": "m", "messages": [], "max_tokens": 9, "temperature": 0.7, "top_p": 0.9, "seed": 1}
    told = []
    dialect = Dialect(say=told.append)
    assert dialect.learns(refusal, dialect.applied(body), body)
    settled = dialect.applied(body)
    assert settled.keys() ^ body.keys() in ({changed}, {changed, "max_completion_tokens"})
    assert len(told) == 1
    assert not dialect.learns(refusal, settled, body)


def test_a_value_out_of_range_and_a_field_that_the_user_set_are_the_users_to_change():
    body = {"messages": [], "max_tokens": 9, "temperature": 3.0}
    for dialect, refusal in (
        (Dialect(), "max_tokens is too large: 40960. This model supports at most 16384"),
        (Dialect(), "Invalid 'temperature': decimal above maximum value. Expected a value <= 2"),
        (Dialect(kept=frozenset({"temperature"})), "'temperature' is not supported with this model."),
    ):
        assert not dialect.learns(refusal, dialect.applied(body), body)


@pytest.mark.parametrize("value", ["socks://h:1", "socks5h://h:1"])
def test_a_socks_proxy_without_its_package_names_the_extra(value, monkeypatch):
    monkeypatch.setattr("turnmix.policies.endpoint.route.find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"turnmix\[socks\]"):
        proxy_for("https://host/v1", {"ALL_PROXY": value})
    monkeypatch.setattr("turnmix.policies.endpoint.route.find_spec", lambda name: object())
    assert proxy_for("https://host/v1", {"ALL_PROXY": value}).startswith("socks5")


def test_a_quota_by_the_minute_is_used_up_by_all_together_with_few_refusals():
    """40 requests of 8 conversations at 10 a minute: the fifth minute ends them."""
    clock = {"now": 0.0}
    settings = AskingSettings()
    log = []

    async def sleep(seconds):
        clock["now"] += seconds  # one conversation at a time: nobody else moves the clock
        await asyncio.sleep(0)

    throttle = Throttle(settings, generator=random.Random(0), clock=lambda: clock["now"], sleep=sleep)

    async def conversation():
        answered = 0
        while answered < 5:
            sent = await throttle.turn()
            minute = int(clock["now"] // 60)
            is_let = sum(1 for at, let in log if let and int(at // 60) == minute) < 10
            log.append((clock["now"], is_let))
            if is_let:
                throttle.answered()
                answered += 1
            else:
                throttle.refused(sent_at=sent, asked=None)

    async def run():
        await asyncio.gather(*(conversation() for _ in range(8)))

    asyncio.run(run())
    assert sum(let for _, let in log) == 40
    assert clock["now"] < 7 * 60
    assert len(log) < 40 + 60
    assert not throttle.is_used_up(since=0.0)
