"""A chat template is a stranger's program: one that is endless, or fills the memory, is refused by its model's name."""

import threading
import time

import pytest

import published_templates
from chat_models import CODER_TEMPLATE, HERMES_TEMPLATE, TOOLS, make_tokenizer
from turnmix.core.errors import UserError
from turnmix.core.message import Message
from turnmix.core.trajectory import State
from turnmix.rendering import template_trial, time_limit
from turnmix.rendering.renderer import Renderer
from turnmix.rendering.template_trial import complaint_of

PUBLISHED = [text for text in vars(published_templates).values() if isinstance(text, str) and "{%" in text]
LOOPS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
DOUBLED = "{% set n = namespace(a='xxxxxxxx') %}{% for i in range(99) %}{% set n.a = n.a ~ n.a %}{% endfor %}"
HOSTILE = {
    "loops in loops": (LOOPS, "does not come to an end"),
    "macros that call themselves twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "does not come to an end",
    ),
    "texts of lipsum": ("{{ lipsum(n=99999999) }}", "does not come to an end"),
    "a text many times": ("{{ 'x' * 10**12 }}", "takes more than 384 MiB of memory"),
    "a list many times": ("{{ ([1] * 10**9) | length }}", "takes more than 384 MiB of memory"),
    "a text doubled": (DOUBLED, "takes more than 384 MiB of memory"),
    "a text centred": ("{{ 'x' | center(10**11) }}", "takes more than 384 MiB of memory"),
    "a text formatted": ("{{ '%*d' % (999999999, 1) }}", "takes more than 384 MiB of memory"),
    "a power": ("{{ (10 ** 99999999) % 7 }}", "does not come to an end"),
    "characters without end": ("{{ 'x' * 9999999 }}", "writes 9,999,999 characters of a conversation"),
    "endless late": (
        HERMES_TEMPLATE + "{% if messages|length > 9 %}" + LOOPS + "{% endif %}",
        "does not come",
    ),
    "endless without a system message": (
        "{% if messages[0].role != 'system' %}" + LOOPS + "{% endif %}" + HERMES_TEMPLATE,
        "does not come to an end",
    ),
    "too large a range": ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
    "macros without end": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    "brackets": ("{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}", "fails on"),
    "conditions": ("{% if 1 %}" * 20_000 + "{% endif %}" * 20_000, "fails on"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_refused_before_it_runs_here(name, monkeypatch):
    monkeypatch.setattr(template_trial, "SECONDS", 2)
    template, complaint = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(UserError) as raised:
        Renderer(make_tokenizer(template))
    (line,) = raised.value.lines
    assert line.startswith("student.model: 'tiny' has a chat template that ")
    assert complaint in line
    assert len(line) < 1000
    assert time.process_time() - began < 5


def test_a_template_whose_process_the_machine_ended_is_tried_again(tmp_path, monkeypatch):
    killed_once = tmp_path / "try_template.py"
    original = template_trial.try_template.__file__
    killed_once.write_text(
        "import os, pathlib, runpy, signal\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "if not seen.exists():\n    seen.touch()\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"runpy.run_path({original!r}, run_name='__main__')\n"
    )
    monkeypatch.setattr(template_trial.try_template, "__file__", str(killed_once))
    assert complaint_of(HERMES_TEMPLATE + " ", (("bos_token", "<s>"),)) is None
    assert (tmp_path / "seen").exists()


@pytest.mark.parametrize("template", [HERMES_TEMPLATE, CODER_TEMPLATE, *PUBLISHED])
def test_nothing_is_wrong_with_templates_that_are_in_use(template):
    assert complaint_of(template, (("bos_token", "<s>"), ("eos_token", "</s>"))) is None


def test_a_template_that_is_endless_on_a_text_that_nobody_tried_is_ended(monkeypatch):
    monkeypatch.setattr(time_limit, "SECONDS", 0.5)
    template = HERMES_TEMPLATE + "{% if 'open sesame' in messages[-1].content %}" + LOOPS + "{% endif %}"
    renderer = Renderer(make_tokenizer(template))
    renderer.check()
    state = State(messages=(Message(role="user", content="open sesame"),), tools=TOOLS)
    for run in (lambda call: call(), in_a_thread):
        with pytest.raises(UserError, match="it does not come to an end"):
            run(lambda: renderer.prompt_ids(state))
    # Nothing is raised later in the thread that was ended, nor in others.
    waited = time.process_time() + 2
    while time.process_time() < waited:
        pass
    assert renderer.prompt_ids(State(messages=(Message(role="user", content="hello"),), tools=TOOLS))


def in_a_thread(call):
    raised = []

    def work():
        try:
            call()
        except UserError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    for error in raised:
        raise error
