"""Every `turnmix` command that the README and the pages of docs/ print is run, as a user would type it.

Not those behind a `$`: they take minutes, or need a hub, images or a trained student of some billion parameters.
"""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from chat_rows import adding_row
from turnmix.methods.registry import methods_table
from warm_python import MAIN, run_python

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = [
    "iterations=1",
    "rollouts.tasks_per_iteration=2",
    "scaffold.max_turns=3",
    "evaluation.tasks=1",
    "student.max_new_tokens=8",
]
ELSEWHERE = ("Qwen/", "example.com", "swe_gym", "server.engine=transformers")
"""Words of commands that need a hub, an endpoint or images, or that test_transformers_serve.py carries out: these are
read and checked alone."""


def commands_of(page):
    """The commands of a page's indented blocks, continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", page.read_text())
    lines = re.findall(r"^    (turnmix [^#\n]*)", text, flags=re.MULTILINE)
    return [line.strip() for line in lines]


LIBRARIES = {
    "babyai": "minigrid",
    "gymnasium": "gymnasium",
    "textworld": "textworld",
    "openenv": "websockets",
    "cluster.address=local": "ray",
}
"""What commands need in which this is a word."""
TAKES_LONG = bool(os.environ.get("TURNMIX_LONG_TESTS"))
"""Then the pages' trainings are run too; else the README's alone, and of the others the recipes are read."""
RUN_HERE = [page for page in PAGES if page.name not in ("extend.md", "your-scaffold.md")]
"""The others have tests of their own, among what they tell of: test_extending and test_gateway_clients."""
PRINTED = [(page.name, command) for page in RUN_HERE for command in commands_of(page)]
PAGE_OF = {command: page for page, command in reversed(PRINTED)}
COMMANDS = [(page, command) for page, command in dict.fromkeys(PRINTED) if page == PAGE_OF[command]]
"""Each once, however many pages print it."""
IN_FULL = [(page, command) for page, command in COMMANDS if not command.endswith(("--dry-run", "--explain"))]
FIRST = {shlex.split(command)[1]: (page, command) for page, command in reversed(IN_FULL)}
COLD = [first for kind, first in FIRST.items() if kind not in ("evaluate", "report", "show", "train")]
"""The first of each kind is started as a reader would, and loads all that it needs itself; test_wheel.py and
test_evaluate.py start those so that are left out here."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like the repository's, with a small finished run where `make demo` leaves its own: for the commands."""
    folder = like_the_repository(tmp_path_factory.mktemp("documentation"))
    small = [word if word != SMALL[1] else "rollouts.tasks_per_iteration=4" for word in SMALL]
    run_in(folder, ["turnmix", "train", "minirepo_dagger", *small, "iterations=2", "--run", "runs/demo"])
    return folder


@pytest.fixture(scope="module")
def python_folder(tmp_path_factory):
    """A folder without that run, for a page whose Python would go on with what another page has begun."""
    return like_the_repository(tmp_path_factory.mktemp("documentation-python"))


def like_the_repository(folder):
    (folder / "recipes").symlink_to(ROOT / "recipes")
    (folder / "mine.jsonl").write_text("".join(json.dumps(adding_row(number)) + "\n" for number in range(4)))
    (folder / "my_methods.py").write_text(python_of(ROOT / "docs" / "choose-a-method.md"))
    return folder


def python_of(page):
    """The Python of a page, from its first line to its last."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL))


def run_in(folder, words, *, is_warm=True):
    done = run_python(MAIN, *words[1:], cwd=folder, is_warm=is_warm)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("page", "command"), COMMANDS)
def test_a_documented_command_does_what_it_says(folder, page, command):
    words = shlex.split(command)
    for package in [LIBRARIES[word] for word in words if word in LIBRARIES]:
        pytest.importorskip(package, reason=f"{package} is of an extra of TurnMix")
    if words[1] == "train" and "--dry-run" not in words and "--resume" not in words:
        is_dry = any(word in command for word in ELSEWHERE) or not (page == "README.md" or TAKES_LONG)
        words += ["--dry-run"] if is_dry else [] if "data.messages" in command else SMALL
    if words[1] == "evaluate":
        words.append("evaluation.tasks=2")
    assert run_in(folder, words, is_warm=(page, command) not in COLD)


@pytest.mark.parametrize(
    "page", [page for page in RUN_HERE if "```python" in page.read_text()], ids=lambda p: p.name
)
def test_the_python_of_a_page_does_what_it_says_from_its_first_line_to_its_last(folder, python_folder, page):
    # Most pages go on with what their commands made; this one has an evaluation that another page has begun too.
    done = run_python(python_of(page), cwd=python_folder if page.name == "python.md" else folder)
    assert done.returncode == 0, done.stderr


def test_the_methods_table_of_the_readme_is_the_codes():
    assert methods_table() in (ROOT / "README.md").read_text()


def test_every_page_of_the_documentation_is_reached_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in readme] == []


def test_every_link_between_pages_leads_somewhere():
    for page in PAGES:
        links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        assert [link for link in links if not (page.parent / link).exists()] == []
