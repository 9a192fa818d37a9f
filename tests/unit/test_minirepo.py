"""minirepo tasks: seeded, distinct, split, really broken and really repairable, and silent about their solution."""

import json
import random
import subprocess
import sys

import pytest
from pydantic import ValidationError

from turnmix.environments.minirepo.caller import json_of
from turnmix.environments.minirepo.injectors import find_bugs
from turnmix.environments.minirepo.kinds import NAMES
from turnmix.environments.minirepo.repository import make_repository, same_value
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource, MinirepoTasks
from turnmix.environments.minirepo.templates import TEMPLATES
from turnmix.environments.minirepo.verifier import unified_patch
from turnmix.sandboxes.local import UnsandboxedSandbox
from turnmix.scaffold.scaffold import ScaffoldSettings

SETTINGS = MinirepoSettings(train=300, holdout=60)


def run_tests(directory, files):
    for path, content in files.items():
        (directory / path).write_text(content)
    return subprocess.run(
        [sys.executable, "-B", "run_tests.py"], cwd=directory, capture_output=True, text=True
    )


def test_its_tests_fail_before_and_pass_after_the_gold_patch_when_run_as_an_agent_would(tmp_path):
    for seed in range(5):
        repository = make_repository(random.Random(seed), modules=(3, 4), bugs=(1, 3))
        before = run_tests(tmp_path, repository.files)
        after = run_tests(tmp_path, {**repository.files, **repository.solution.files})
        assert before.returncode == 1
        assert before.stdout.count("FAIL test_") == len(repository.kinds)
        assert after.returncode == 0
        assert after.stdout.startswith("0 failed")
        for file in tmp_path.glob("*.py"):
            file.unlink()


def test_one_seed_gives_the_same_tasks_in_another_process():
    program = (
        "from turnmix.environments.minirepo.source import *; import hashlib;"
        "tasks = MinirepoTasks(MinirepoSettings(), 'train');"
        "told = [(t.problem_statement, sorted(t.workspace.files.items())) for t in tasks[:20]];"
        "print(hashlib.sha256(repr(told).encode())"
        ".hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert digests == {GOLDEN_DIGEST}


GOLDEN_DIGEST = "ad9468cf5994fbaca5551bb2ca83ccdbfbe1451e416a47088dfb785ad19861ec\n"
"""Of the first twenty training tasks of seed 0: the same on every machine and every Python."""


def test_splits_share_no_task_and_tasks_are_distinct():
    train = [json.dumps(task.workspace.files) for task in MinirepoTasks(SETTINGS, "train")]
    holdout = [json.dumps(task.workspace.files) for task in MinirepoTasks(SETTINGS, "holdout")]
    assert len({*train, *holdout}) == 360


def test_another_seed_gives_other_tasks():
    first = MinirepoTasks(SETTINGS, "holdout")[0]
    second = MinirepoTasks(MinirepoSettings(seed=1), "holdout")[0]
    assert first.workspace.files != second.workspace.files


def test_a_task_does_not_hold_its_solution():
    source = MinirepoSource(SETTINGS, make_sandbox=UnsandboxedSandbox, scaffold=ScaffoldSettings())
    for task in source.tasks("train")[:20]:
        for gold in source.solution(task).files.values():
            assert gold not in task.workspace.files.values()


def test_bugs_are_of_many_kinds():
    kinds = {
        kind
        for seed in range(150)
        for kind in make_repository(random.Random(seed), modules=(3, 5), bugs=(3, 3)).kinds
    }
    assert kinds >= {
        "operator", "comparison", "boundary", "index", "swapped operands", "wrong variable", "missing return",
        "wrong default", "wrong call", "condition", "constant", "boolean",
    }  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.verbs[0])
def test_every_template_is_in_normal_form_and_can_be_broken(template):
    function = template.write("name_things", random.Random(0))
    compile(function, "function", "exec")
    assert "'" not in function
    assert "\\" not in function
    assert find_bugs(function)
    assert all(kind in NAMES for kind in template.kinds())


def test_values_are_compared_with_their_types():
    assert same_value([1, True], [1, True])
    assert not same_value([1, 1], [1, True])
    assert not same_value(1.0, 1)
    assert not same_value((1,), [1])


def test_an_answer_is_told_as_the_json_of_its_value():
    odd = [
        "",
        "plain",
        'a "b" \\ c',
        "\n\0\x7f",
        "ä𝄞\ud800",
        -(10**30),
        0.1,
        -0.0,
        1e300,
        True,
        None,
        [[], ["x"]],
    ]
    assert json.loads(json_of(odd)) == odd
    assert json.loads(json_of((1, (2.5,)))) == [1, [2.5]]
    for value in (float("nan"), float("-inf"), {"a": 1}, {1}, b"a", [object()]):
        with pytest.raises(TypeError):
            json_of(value)


@pytest.mark.parametrize(
    ("field", "value"), [("bugs", (2, 1)), ("bugs", (1, 9)), ("modules", (0, 2)), ("train", 0)]
)
def test_impossible_settings_are_refused(field, value):
    with pytest.raises(ValidationError, match=field):
        MinirepoSettings.model_validate({field: value})


@pytest.mark.parametrize("byte", [b"\x0c", b"\x1e", b"\r", b"\xff", b"\0", b"\n"])
def test_a_patch_is_no_more_to_store_than_a_few_bytes_for_each_that_an_agent_left(byte):
    size = 50_000
    assert len(json.dumps(unified_patch({"a.py": "x\n"}, {"a.py": byte * size}))) < 6 * size + 200


def test_a_patch_tells_its_lines_apart_where_git_does():
    patch = unified_patch({"a.py": "x\n\x0cy\n"}, {"a.py": b"x\n\x0cz\x0c"})
    assert patch.split("\n")[3:] == [" x", "-\x0cy", "+\x0cz\x0c", "\\ No newline at end of file", ""]
