"""Harbor's own runner and TurnMix play the same directories, and come to the same rewards."""

import subprocess

import pytest
from container_runtime import DEBIAN, needs_containers
from harbor_runner import harbor_rewards, instructions, needs_harbor
from harbor_tasks import EXPECTED, NOTHING, bash, played, source_of, tag_served, three_tasks
from long_tests import takes_minutes

from turnmix.cli import main
from turnmix.environments.repositories.archive.files import pack_tree, store_archive
from turnmix.environments.repositories.task_file import write_rows
from turnmix.task_making.settings import MakeSettings
from turnmix.task_making.task_maker import draft_row

TREE = {
    "src/sums.py": "def total(values):\n    return sum(values)\n",
    "tests/test_sums.py": "from sums import total\n\n\ndef test_two():\n    assert total([1, 2]) == 3\n",
}
BREAK = """\
--- a/src/sums.py
+++ b/src/sums.py
@@ -1,2 +1,2 @@
 def total(values):
-    return sum(values)
+    return sum(values[1:])
"""
TEST = """\
--- a/tests/test_sums.py
+++ b/tests/test_sums.py
@@ -3,3 +3,7 @@

 def test_two():
     assert total([1, 2]) == 3
+
+
+def test_none():
+    assert total([]) == 0
"""
REPOSITORY = "sums-1"
TASKS = ["minirepo-0-train-00000", "minirepo-0-train-00001"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "tasks"
    words = [
        "tasks",
        "export",
        "minirepo_sft",
        "--output",
        str(folder),
        "--limit",
        "2",
        "--image",
        DEBIAN,
        "--network",
    ]
    assert main(words) == 0
    path, row = repository_row(tmp_path_factory.mktemp("row"))
    write_rows(path, [row])
    python = ["--run", "ln -s python3 /usr/bin/python"]
    said = [f"tasks.path={path}", "tasks.holdout=all", "--split", "holdout"]
    words = [
        "tasks",
        "export",
        "minirepo_sft",
        *said,
        "--output",
        str(folder),
        "--image",
        DEBIAN,
        "--network",
    ]
    assert main([*words, *python]) == 0
    return folder


def repository_row(folder):
    """A row as `turnmix tasks make` writes it, and where its file is to lie."""
    for path, text in TREE.items():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / path).write_text(text)
    archive = store_archive(folder / "tasks.jsonl", pack_tree(folder / "tree"))
    draft = draft_row(
        MakeSettings(output=folder / "tasks.jsonl"), path=folder / "tree", archive=archive, tree=[*TREE]
    )
    changes = {
        "instance_id": REPOSITORY,
        "source": "hand",
        "python_environment": None,
        "problem_statement": "total leaves something out.",
        "base_patch": BREAK,
        "gold_patch": BREAK.replace("-    return sum(values)\n+", "-").replace(
            "[1:])\n", "[1:])\n+    return sum(values)\n"
        ),
        "test_patch": TEST,
        "fail_to_pass": ("tests/test_sums.py::test_two",),
        "pass_to_pass": ("tests/test_sums.py::test_none",),
    }
    return folder / "tasks.jsonl", draft.model_copy(update=changes)


@needs_containers
def test_minirepos_that_were_written_out_are_solved_by_their_gold_patch_and_by_nothing_else(exported):
    source = source_of(exported)
    for task in source.tasks("holdout"):
        messages, verdict = played(source, name=task.id)
        assert verdict.resolved, messages[-1]
        assert not played(source, NOTHING, name=task.id)[1].resolved
    always_green = bash(
        "echo 'def test_two(): pass' > tests/test_sums.py; echo > conftest.py; printf '[pytest]' > pytest.ini"
    )
    assert played(source, always_green, name=REPOSITORY)[1].reward == 0
    everything_passes = bash("for f in *.py; do echo 'def __getattr__(n): return lambda *a: True' > $f; done")
    assert played(source, everything_passes, name=TASKS[0])[1].reward == 0


def test_a_directory_that_is_there_is_not_written_over(tmp_path, capsys):
    words = ["tasks", "export", "minirepo_sft", "--output", str(tmp_path / "out"), "--limit", "1"]
    assert main(words) == 0
    assert main(words) == 2
    assert "is there already: remove it, or name another directory" in capsys.readouterr().err


@needs_harbor
def test_harbors_own_library_takes_what_was_written_out_and_what_the_tests_make(tmp_path, exported):
    three_tasks(tmp_path)
    directories = [*sorted(tmp_path.iterdir()), *sorted(exported.iterdir())]
    told = instructions(*directories)
    assert len(told) == len(directories) == 6
    here = [
        task.problem_statement for path in (tmp_path, exported) for task in source_of(path).tasks("holdout")
    ]
    assert [each.rstrip() for each in told] == [each.rstrip() for each in here]


def both_reward(tasks, folder, exported, chosen):
    three_tasks(folder / "made")
    tasks.mkdir()
    for name in chosen:
        above = folder / "made" if (folder / "made" / name).exists() else exported
        subprocess.run(["cp", "-r", above / name, tasks], check=True)
    resolved = {
        (name, agent): {"reward": float(agent == "oracle")}
        for name in [*TASKS, REPOSITORY]
        for agent in ("oracle", "nop")
    }
    expected = {trial: rewards for trial, rewards in {**EXPECTED, **resolved}.items() if trial[0] in chosen}
    found = {}
    for agent in ("oracle", "nop"):
        tag_served()
        found |= harbor_rewards(tasks, folder / agent, agent=agent)
    assert found == expected


@needs_harbor
@takes_minutes  # and removes images while others make theirs
@pytest.mark.parametrize("chosen", [["sorting", TASKS[0]], ["greeting", "serving", TASKS[1], REPOSITORY]])
def test_harbors_own_runner_comes_to_the_same_rewards(tmp_path, exported, chosen):
    both_reward(tmp_path / "tasks", tmp_path, exported, chosen)
