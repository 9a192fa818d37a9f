"""What the oracle reads of a task that has an image, in real containers."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from container_runtime import needs_containers, settings
from shelf_image import shelf_row

from turnmix.environments.oracle import policy as oracle
from turnmix.environments.repositories import repository_files
from turnmix.environments.repositories.row_sandbox import make_row_sandbox
from turnmix.environments.repositories.source import TaskFileSettings, TaskFileSource
from turnmix.environments.repositories.task_file import write_rows
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import AggrevateMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import ContainerSandboxSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

pytestmark = needs_containers
ADDS = (
    "diff --git a/new.py b/new.py\nnew file mode 100644\n--- /dev/null\n+++ b/new.py\n@@ -0,0 +1 @@\n+x = 1\n"
)


@pytest.fixture
def source_of(tmp_path):
    """A source of one row, and the sandboxes that it made."""
    made = []

    def make(row):
        made.append(row)
        chosen = ContainerSandboxSettings(container=settings())
        return make_row_sandbox(chosen.make, row)

    def source(row):
        write_rows(tmp_path / "tasks.jsonl", [row])
        return TaskFileSource(
            TaskFileSettings(path=tmp_path / "tasks.jsonl", holdout="all"),
            make_sandbox=make,
            scaffold=ScaffoldSettings(),
        )

    source.made = made
    return source


def test_trajectories_of_one_task_share_one_look_into_its_image(source_of):
    source = source_of(shelf_row())
    (task,) = source.tasks("holdout")
    with ThreadPoolExecutor(3) as threads:
        solutions = [*threads.map(source.solution, [task] * 3)]
    assert len(source_of.made) == 1
    assert "count]" in solutions[0].files["shelf.py"]
    assert set(solutions[0].base) >= {"shelf.py", "tests/test_shelf.py"}


def test_of_a_large_repository_only_the_files_that_the_fix_changes_are_read(source_of, monkeypatch):
    monkeypatch.setattr(repository_files, "LARGEST_TREE", 100)
    source = source_of(shelf_row())
    assert set(source.solution(*source.tasks("holdout")).base) == {"shelf.py"}


def test_of_a_large_repository_to_which_the_fix_only_adds_nothing_is_read(source_of, monkeypatch):
    monkeypatch.setattr(repository_files, "LARGEST_TREE", 100)
    source = source_of(shelf_row(gold_patch=ADDS))
    solution = source.solution(*source.tasks("holdout"))
    assert solution.base == {}
    assert solution.files == {"new.py": "x = 1\n"}


@pytest.mark.parametrize("is_large", [False, True], ids=["small", "large"])
def test_the_oracle_leaves_what_the_image_brought_and_removes_what_the_student_left(
    source_of, monkeypatch, is_large
):
    pytest.importorskip("swebench", reason="grading in images needs swebench: pip install 'turnmix[swe]'")
    if is_large:
        monkeypatch.setattr(repository_files, "LARGEST_TREE", 100)
        monkeypatch.setattr(oracle, "WORKSPACE_LIMIT", 1 << 15)  # large.bin hides what is read after it
    source = source_of(shelf_row())
    litter = "head -c 100000 /dev/zero > build/large.bin; echo 1 > stray.py; echo broken > shelf.py"
    student = ScriptedPolicy.of_actions("vandal", [call_action("execute_bash", command=litter)])
    plans = make_plans(source.tasks("holdout"), iteration=1, seed=0, cohort_size=1, beta=None)
    (trajectory,) = asyncio.run(
        collect(
            RolloutRequest(
                plans=plans,
                source=source,
                student=student,
                teacher=source.expert(),
                mixture=AggrevateMixture(support=(1, 1)),
                label=False,
                concurrency=1,
            )
        )
    )
    told = [turn.action.message.tool_calls[0].arguments.get("command", "") for turn in trajectory.turns[1:]]
    assert [trajectory.verdict.resolved, trajectory.verdict.details["submitted"]] == [True, True]
    removed = {word for command in told if command.startswith("rm ") for word in command.split()[2:]}
    assert removed <= {"stray.py", "build/large.bin"}
    assert len(trajectory.turns) < 12
