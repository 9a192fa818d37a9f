"""A conversation that grows is written as if each prompt were the first: by any template, to the letter and token."""

import itertools
import random
from collections import UserDict

import pytest

from bracket_template import BRACKETS
from chat_models import CODER_TEMPLATE, HERMES_TEMPLATE, TOOLS, make_tokenizer
from published_templates import ROWS, tokenizer_of
from qwen3_templates import TEMPLATES
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, State
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate
from turnmix.rendering.control_text import ControlTexts
from turnmix.rendering.renderer import Renderer

_TURN = "{{ '<|im_start|>' + m.role + '\n' + m.content }}"
_END = "{{ '<|im_end|>\n' }}"
_GENERATE = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"


def each(body, before=""):
    return before + "{% for m in messages %}" + _TURN + body + _END + "{% endfor %}" + _GENERATE


HOSTILE = {
    "the number of messages": each("{{ messages | length }}"),
    "the number of messages, known before": each("{{ n }}", "{% set n = messages | length %}"),
    "how many are left": each("{{ loop.revindex }}"),
    "the last message": each("{{ messages[-1].content[:5] }}"),
    "the last message, by an index below 0": each("{{ messages[loop.index0 - 2].role }}"),
    "the next two": each("{{ loop.nextitem.role }}{{ messages[loop.index0 + 2].content[:3] }}"),
    "whether it is the last": each("{% if loop.last %}!{% endif %}"),
    "whether the agent goes on": each("{% if add_generation_prompt %}?{% endif %}"),
    "whether it changed": each("{% if loop.changed(m.role) %}~{% endif %}"),
    "a cycle": each("{{ loop.cycle('a', 'b', 'c') }}"),
    "a count that goes on": each(
        "{% set s.n = s.n + m.content | length %}{{ s.n }}", "{% set s = namespace(n=0) %}"
    ),
    "a count under another name": each(
        "{% set t = s %}{% set t.n = t.n + 1 %}{{ s.n }}", "{% set s = namespace(n=0) %}"
    ),
    "a space within a space": each(
        "{% set t = s.t %}{% set t.n = t.n + 1 %}{{ s.t.n }}", "{% set s = namespace(t=namespace(n=0)) %}"
    ),
    "a space in a list": each(
        "{% set t = l[0] %}{% set t.n = t.n + 1 %}{{ t.n }}", "{% set l = [namespace(n=0)] %}"
    ),
    "a space made in the loop": each(
        "{% if loop.first %}{% set s.t = namespace(n=0) %}{% endif %}{% set t = s.t %}{% set t.n = t.n + 1 %}{{ t.n }}",
        "{% set s = namespace(t=none) %}",
    ),
    "a count behind the loop": "{% set s = namespace(n=0) %}"
    + each("{% set s.n = s.n + 1 %}").replace(_GENERATE, "{{ s.n }}" + _GENERATE),
    "the last question": each(
        "{% if loop.index0 > s.n %}>{% endif %}",
        "{% set s = namespace(n=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set s.n = loop.index0 %}"
        "{% endif %}{% endfor %}",
    ),
    "from the end": each(
        "{% if loop.index0 == s.n %}>{% endif %}",
        "{% set s = namespace(n=none) %}{% for m in messages[::-1] %}{% if s.n is none and m.role == 'user' %}"
        "{% set s.n = messages | length - 1 - loop.index0 %}{% endif %}{% endfor %}",
    ),
    "a macro that counts": each(
        "{{ f(m) }}", "{% macro f(m) %}{{ messages | length }}{{ m.role }}{% endmacro %}"
    ),
    "a macro of the message alone": each("{{ f(m) }}", "{% macro f(x) %}({{ x.role }}){% endmacro %}"),
    "a macro with a space of its own": each(
        "{{ f() }}",
        "{% set s = namespace(n=0) %}{% macro f() %}{% set s.n = s.n + 1 %}{{ s.n }}{% endmacro %}",
    ),
    "a cycler": each("{{ c.next() }}", "{% set c = cycler('a', 'b', 'c') %}"),
    "a joiner": each("{{ j() }}", "{% set j = joiner(',') %}"),
    "something that is used up": each(
        "{{ g | first | default('-') }}", "{% set g = messages | map(attribute='role') %}"
    ),
    "a loop that is left": each("{% if loop.index > 3 %}{{ '<|im_end|>\n' }}{% continue %}{% endif %}"),
    "a loop inside": each(
        "{% for c in m.content[:3] %}{% if c == 'I' %}{% break %}{% endif %}{{ loop.index }}{{ c }}"
        "{% if loop.last %}.{% endif %}{% endfor %}"
    ),
    "all before it": each("{% for o in messages[:loop.index0] %}{{ o.role[0] }}{% endfor %}"),
    "a name that is set in the loop": each(
        "{{ x }}{% set x = m.role %}{{ x }}", "{% set x = messages | length %}"
    ),
    "a part of the messages": "{% set messages = messages[1:] %}" + each("{{ loop.index }}"),
    "those of one role": each("").replace("in messages", "in messages if m.role != 'system'"),
    "a text of the turn": each("{% set t %}{{ m.role }}{{ loop.index }}{% endset %}{{ t | upper }}"),
    "thinking of its own": BRACKETS,
    "a call's text": each("{% generation %}{{ m.role }}{{ loop.index0 }}{% endgeneration %}"),
}


def long_conversation(*, seed=0, turns=8):
    """Calls, answers, a user in between, control text from some turn on, and the same message twice."""
    draw = random.Random(seed)
    again = Message(role="user", content="Go on.")
    messages = list(probe.BEGINNING.messages)
    for number in range(turns):
        call = ToolCall(
            id=f"call_{number % 2}", name="edit", arguments={"path": f"{number}", "dry": True, "line": 1.5}
        )
        kind = draw.randrange(4)
        if kind == 0:
            messages += [Message(role="assistant", content=f"I think {number}."), again]
            continue
        thought = f"<think>\n{number}\n</think>\n\nI look." if kind == 1 else "I look."
        messages.append(Message(role="assistant", content=thought, tool_calls=(call,)))
        told = "STOP = '<|im_end|>'" if number == turns // 2 else f"line {number}"
        messages.append(Message(role="tool", content=told, tool_call_id=call.id))
    return messages


def written(template, messages, tools, *, with_tools):
    """Each prompt and each whole conversation, or what the template says against it."""
    texts = []
    for size, generate in itertools.product(range(1, len(messages) + 1), (True, False)):
        try:
            texts.append(
                template.render(tuple(messages[:size]), tools if with_tools else (), generate=generate)
            )
        except Exception as error:
            texts.append(f"{type(error).__name__}: {error}")
    return texts


def both(source, *, with_tools=True, control=("<|im_end|>",)):
    """The same template, plainly and with a memory."""
    tokenizer = make_tokenizer(source) if isinstance(source, str) else source
    made = []
    for is_remembering in (False, True):
        template = ChatTemplate(tokenizer, with_tools=with_tools)
        template.control_texts = ControlTexts(control)
        if is_remembering:
            template.remember(())
        made.append(template)
    return made


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_may_look_at_whatever_it_likes(name):
    plain, remembering = both(HOSTILE[name])
    conversations = [long_conversation(seed=seed) for seed in range(3)]
    expected = [written(plain, each, TOOLS, with_tools=True) for each in conversations]
    for _ in range(2):
        assert [written(remembering, each, TOOLS, with_tools=True) for each in conversations] == expected
    backwards = list(reversed(conversations))
    found = [written(remembering, each, TOOLS, with_tools=True) for each in backwards]
    assert list(reversed(found)) == expected


ALL = {
    **TEMPLATES,
    "hermes": HERMES_TEMPLATE,
    "coder of our own": CODER_TEMPLATE,
}


@pytest.mark.parametrize("name", ALL)
def test_prompts_and_targets_of_a_growing_conversation_are_those_of_a_renderer_that_never_saw_it(name):
    tokenizer = make_tokenizer(ALL[name])
    growing = Renderer(tokenizer)
    messages = long_conversation(turns=5)
    for size in range(2, len(messages)):
        if messages[size].role != "assistant":
            continue
        state = State(messages=tuple(messages[:size]), tools=TOOLS)
        action = Action(message=messages[size])
        fresh = Renderer(tokenizer)
        fresh._template._memory = None
        assert growing.prompt_ids(state) == fresh.prompt_ids(state)
        assert growing.target_ids(state, action) == fresh.target_ids(state, action)


class CountedArguments(UserDict):
    """A call's arguments that count how often somebody reads them."""

    reads = 0

    def keys(self):
        self.reads += 1
        return super().keys()


@pytest.mark.parametrize("name", ALL)
def test_a_message_is_read_once_however_often_a_prompt_repeats_it(name):
    renderer = Renderer(make_tokenizer(ALL[name]))
    arguments = CountedArguments(path="a")
    call = ToolCall(id="call_0", name="edit", arguments=arguments)
    messages = list(probe.BEGINNING.messages)
    for number in range(20):
        state = State(messages=tuple(messages), tools=TOOLS)
        label = Action(message=Message(role="assistant", content=f"I look {number} times."))
        renderer.prompt_ids(state)
        renderer.target_ids(state, label)
        acted = Message(role="assistant", content="", tool_calls=(call,)) if number == 0 else label.message
        answered = call.id if number == 0 else None
        told = Message(role="user" if answered is None else "tool", content="1", tool_call_id=answered)
        messages += [acted, told]
    assert arguments.reads == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("with_tools", [True, False])
def test_published_templates_write_growing_conversations_as_before(row, with_tools):
    plain, remembering = both(tokenizer_of(row), with_tools=with_tools)
    messages = long_conversation()
    expected = written(plain, messages, TOOLS, with_tools=with_tools)
    for _ in range(2):
        assert written(remembering, messages, TOOLS, with_tools=with_tools) == expected
