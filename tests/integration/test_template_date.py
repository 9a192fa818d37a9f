"""What a template shows as today's date is the run's, from its first rollout to its last evaluation."""

import json
import shutil
from datetime import datetime

import pytest
from scaffold_in_sandbox import needs_sandbox

from turnmix.cli import main
from turnmix.nano import CHECKPOINT
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.store.run_directory import RunDirectory
from turnmix.store.versions import when_begun

pytestmark = needs_sandbox
BEGUN = datetime(2020, 1, 2, 3, 4, 5)
RECIPE = """\
method: dagger
iterations: 1
tasks: {train: 4, holdout: 4}
student: {model: STUDENT, cohort_size: 1, max_new_tokens: 4}
scaffold: {max_turns: 2}
rollouts: {tasks_per_iteration: 1, concurrency: 1}
data: {filter: all}
learner: {learning_rate: 1.0e-3, epochs: 1, batch_size: 1}
evaluation: {tasks: 1, base: false}
"""
OTHER_DAY = (
    "{%- set now = strftime_now('%d %b %Y %H:%M:%S') %}"
    "{%- if now != '02 Jan 2020 03:04:05' %}{{ raise_exception('it is ' + now) }}{%- endif %}"
)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A student whose template fails at any other moment than `BEGUN`."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(CHECKPOINT, tmp_path / "dated")
    template = tmp_path / "dated" / "chat_template.jinja"
    template.write_text(OTHER_DAY + template.read_text())
    (tmp_path / "dated.yaml").write_text(RECIPE.replace("STUDENT", str(tmp_path / "dated")))
    return "dated.yaml"


def test_a_run_keeps_its_moment_where_it_goes_on_and_where_it_is_evaluated(recipe, tmp_path, capsys):
    path = tmp_path / "run"
    RunDirectory.create(path, recipe_yaml=recipe_yaml(load_recipe(recipe)), begun=BEGUN).close()
    assert main(["train", "--resume", str(path)]) == 0, capsys.readouterr()
    assert main(["evaluate", str(path)]) == 0, capsys.readouterr()
    (evaluation,) = (path / "evaluations").iterdir()
    assert when_begun(evaluation) == when_begun(path) == BEGUN
    # It is another day for whoever is given the checkpoint alone, and for a new run.
    capsys.readouterr()
    for words in (["train", recipe, "--run", "new"], ["evaluate", str(tmp_path / "dated"), recipe]):
        days = [f"it is {datetime.now():%d %b %Y}"]
        assert main(words) == 2
        days.append(f"it is {datetime.now():%d %b %Y}")  # another one where it was midnight meanwhile
        told = capsys.readouterr().err
        assert any(day in told for day in days)
    assert not (tmp_path / "new").exists()


def test_a_new_run_notes_its_moment(tmp_path):
    before = datetime.now().replace(microsecond=0)
    RunDirectory.create(tmp_path / "run", recipe_yaml="").close()
    noted = json.loads((tmp_path / "run" / "versions.json").read_text())["begun"]
    assert before <= datetime.fromisoformat(noted) <= datetime.now()
