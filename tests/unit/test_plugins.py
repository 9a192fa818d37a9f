"""Code of a user's own is named as `package.module:Name`, and its mistakes are told with its own file and line."""

import asyncio
import sys
import textwrap

import pytest

from turnmix.core.errors import PluginError, TeacherError, UserError
from turnmix.core.plugin_versions import plugin_versions
from turnmix.core.plugins import (
    is_plugin_name,
    load_plugin,
    meant_plugin,
    plugin_fault,
    telling_faults,
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory of the user's own, which is the current one; nothing of it stays imported."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in set(sys.modules) - before:
        places = [getattr(sys.modules[name], "__file__", None), *getattr(sys.modules[name], "__path__", ())]
        if any(str(tmp_path) in str(place) for place in places):  # numpy, for one, cannot be imported twice
            del sys.modules[name]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text))


def mistake(name):
    with pytest.raises(UserError) as raised:
        load_plugin(name, field="tasks.source")
    (line,) = raised.value.lines
    return line


def test_a_plugin_is_found_in_the_current_directory_and_may_import_from_it_later(here):
    write(here / "my_world" / "tasks.py", "class Words:\n    def late(self):\n        import my_helper\n")
    write(here / "my_helper.py", "")
    assert load_plugin("my_world.tasks:Words", field="tasks.source").__name__ == "Words"
    assert sys.path[-1] == str(here)
    load_plugin("my_world.tasks:Words", field="tasks.source")().late()


def test_the_current_directory_hides_nothing_that_is_installed_and_leaves_the_path_again(here):
    write(here / "json.py", "class Words: ...")
    write(here / "numpy.py", "class Words: ...")
    assert load_plugin("json:JSONDecoder", field="tasks.source").__module__ == "json.decoder"
    assert "there is no Words in" in mistake("numpy:Words")
    assert str(here) not in sys.path


def test_what_a_plugin_prints_as_it_is_imported_is_not_output(here, capsys):
    write(here / "loud_world.py", "print('hello')\nWords = 1")
    assert load_plugin("loud_world:Words", field="tasks.source") == 1
    assert capsys.readouterr() == ("", "hello\n")


def test_a_module_or_a_name_that_is_not_there_is_told_with_what_to_do(here):
    write(here / "my_world.py", "class Words: ...\nfrom pathlib import Path")
    assert mistake("no_world:Words") == (
        f"tasks.source: 'no_world:Words': there is no module 'no_world', neither installed nor in {here}: install it, "
        "or start TurnMix where it lies"
    )
    assert mistake("my_world:Wrods") == (
        "tasks.source: 'my_world:Wrods': there is no Wrods in my_world.py; did you mean 'Words'?"
    )
    assert mistake("my_world:Q").endswith("there is no Q in my_world.py; it has Words")
    assert mistake("my_world.tasks:Words").startswith(
        "tasks.source: 'my_world.tasks:Words': there is no module 'my_world.tasks' in my_world.py"
    )


def test_a_module_hidden_by_an_installed_one_is_told(here):
    write(here / "json" / "tasks.py", "class Words: ...")
    assert mistake("json.tasks:Words").endswith("its name hides json/tasks here: give that another name")


NO_SOURCE = "SyntaxError" if sys.version_info >= (3, 11) else "ValueError"
"""What Python says of a module that holds a null byte."""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "x = 1\nx.y",
            "my_world/tasks.py:2 (my_world.tasks:Words): AttributeError: 'int' object has no attribute",
        ),
        (
            "import json\njson.loads('{')",
            "my_world/tasks.py:2 (my_world.tasks:Words): JSONDecodeError: Expecting",
        ),
        (
            "\nimport not_there",
            "my_world/tasks.py:2 (my_world.tasks:Words): ModuleNotFoundError: No module named",
        ),
        ("\n\ndef f(:", "my_world/tasks.py:3 (my_world.tasks:Words): SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "my_world/tasks.py:1 (my_world.tasks:Words): SystemExit: 3"),
        ("raise BaseException(3)", "my_world/tasks.py:1 (my_world.tasks:Words): BaseException: 3"),
        ("x = '\0'", f"my_world/tasks.py (my_world.tasks:Words): {NO_SOURCE}: source code "),
        ("import beside", "beside.py:2 (my_world.tasks:Words): ZeroDivisionError: division by zero"),
        (
            "raise ValueError('two\\nlines')",
            "my_world/tasks.py:1 (my_world.tasks:Words): ValueError: two lines",
        ),
    ],
)
def test_a_module_that_raises_is_told_with_its_own_file_and_line(here, text, told):
    write(here / "my_world" / "__init__.py", "")
    write(here / "my_world" / "tasks.py", text)
    write(here / "beside.py", "\n1 / 0")
    assert mistake("my_world.tasks:Words").startswith(f"tasks.source: {told}")


def test_a_fault_is_told_where_the_plugins_own_code_raised_it_or_else_where_it_begins(here):
    write(
        here / "my_world.py",
        """
        import json

        class Words:
            def make(self):
                return json.loads("{")
        """,
    )
    plugin = load_plugin("my_world:Words", field="tasks.source")
    for call, told in (
        (lambda: plugin().make(), "my_world.py:6 (my_world:Words): JSONDecodeError: "),
        (lambda: plugin().make(1), "my_world.py:4 (my_world:Words): TypeError: Words.make() takes 1"),
    ):
        with pytest.raises(Exception) as raised:
            call()
        assert plugin_fault(raised.value, name="my_world:Words").startswith(told)


def test_an_installed_plugin_is_noted_by_its_distribution_and_any_other_by_its_digest(here):
    write(here / "my_world" / "tasks.py", "class Words: ...")
    write(here / "my_world" / "more.py", "")
    names = ["my_world.tasks:Words", "pydantic.main:BaseModel", "yaml:SafeLoader", "not_loaded:Words"]
    for name in names[:-1]:
        load_plugin(name, field="tasks.source")
    before = plugin_versions(names)
    assert set(before) == {"my_world", "pydantic", "PyYAML"}
    assert before["pydantic"] == sys.modules["pydantic"].VERSION
    assert before["my_world"].startswith("sha256:")
    write(here / "my_world" / "more.py", "changed = True")
    assert plugin_versions(names) != before


def test_a_path_or_a_dot_for_the_colon_is_told_with_the_name_that_was_meant(here):
    assert not is_plugin_name("my_world.Words")
    assert meant_plugin("my_world/tasks.py:Words") == "my_world.tasks:Words"
    assert mistake("my_world.Words") == (
        "tasks.source: 'my_world.Words': name code of your own as package.module:Name; did you mean 'my_world:Words'?"
    )
    write(here / "my_world.py", "")
    assert mistake("my_world.py:Words").endswith(": did you mean 'my_world:Words'?")


def test_what_fails_inside_a_plugin_is_told_with_its_line_and_what_it_raises_on_purpose_passes(here):
    write(here / "my_world.py", "def step(words):\n    return words['x']\n")
    step = load_plugin("my_world:step", field="tasks.source")
    with pytest.raises(PluginError) as raised, telling_faults("my_world:step"):
        step({})
    assert raised.value.lines == ("my_world.py:2 (my_world:step): KeyError: 'x'",)
    with pytest.raises(TeacherError, match="no answer"), telling_faults("my_world:step"):
        raise TeacherError("no answer")


@pytest.mark.parametrize("ending", ["sys.exit(0)", "raise BaseException", "raise asyncio.CancelledError"])
def test_a_plugin_that_ends_the_process_or_passes_for_a_cancellation_is_told_as_one_that_fails(here, ending):
    write(here / "my_world.py", f"import asyncio, sys\ndef step():\n    {ending}\n")
    step = load_plugin("my_world:step", field="tasks.source")
    with (
        pytest.raises(PluginError, match=r"^my_world.py:3 \(my_world:step\): "),
        telling_faults("my_world:step"),
    ):
        step()


def test_what_ends_a_plugin_from_outside_is_no_fault_of_it(here):
    async def waits():
        with telling_faults("my_world:step"):
            await asyncio.sleep(60)

    async def is_cancelled():
        task = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(is_cancelled())
    with pytest.raises(KeyboardInterrupt), telling_faults("my_world:step"):
        raise KeyboardInterrupt


class Group(Exception):
    """As task groups raise, which Python has since 3.11."""

    def __init__(self, *errors):
        super().__init__(f"unhandled errors ({len(errors)} sub-exceptions)")
        self.exceptions = errors


def test_of_errors_in_a_group_the_first_is_told_with_its_own_line(here):
    write(here / "my_world.py", "def step(words):\n    return words['x']\n")
    step = load_plugin("my_world:step", field="tasks.source")
    with pytest.raises(KeyError) as raised:
        step({})
    assert plugin_fault(Group(raised.value, ValueError()), name="my_world:step") == (
        "my_world.py:2 (my_world:step): KeyError: 'x'"
    )
