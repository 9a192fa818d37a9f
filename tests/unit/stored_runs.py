"""Runs, analyses and sweeps written by hand, as their commands leave them."""

import hashlib
from contextlib import closing

import yaml
from recorded_trajectories import labelled_turn, trajectory

from turnmix.core.json_text import json_text
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.loop.summary import summary_of
from turnmix.policies.scripted import text_action
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.running.comparison_file import comparison_of
from turnmix.running.sweep_record import record_of
from turnmix.store.analysis_directory import analysis_path, rollouts_path, scores_path, teacher_path
from turnmix.store.append_log import AppendLog, TrajectoryLog
from turnmix.store.run_directory import RunDirectory
from turnmix.store.sweep_directory import SweepDirectory

COMPARISON = {
    "name": "small",
    "recipe": "minirepo",
    "overrides": ["iterations=1", "evaluation.tasks=0"],
    "arms": {"sft": ["method=sft"], "dagger": ["method=dagger"]},
    "seeds": [0, 1],
    "analysis": {"tasks": 4},
    "outcomes": ["own_state_label_nll", "agreement_on_teacher_states", "resolved_after_breaking", "resolved"],
    "decision": {
        "between": ["sft", "dagger"],
        "rule": "DAgger is nearer to its teacher in each seed.",
        "criteria": [{"outcome": "own_state_label_nll", "direction": "lower", "in_seeds": 2}],
    },
}


def ended(trajectory_id, task, *turns, resolved):
    verdict = patch_verdict(resolved=resolved, submitted=True, passed=1, failed=0)
    made = trajectory(trajectory_id, *turns, verdict=verdict)
    return type(made)(**{**{name: getattr(made, name) for name in made.__slots__}, "task_id": task})


def evaluated_run(path, overrides, resolved=(True, True, False, False)):
    """A complete run of one iteration with the verdicts of its last evaluation."""
    recipe = load_recipe("minirepo", ["iterations=1", *overrides])
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe))) as run:
        for place, each in enumerate(resolved):
            turn = labelled_turn("student", "done")
            run.evaluations.append(ended(f"e001-{place:05d}", f"t{place}", turn, resolved=each))
        figures = {"resolved": sum(resolved), "n": len(resolved), "low": 0.0, "high": 1.0}
        base = figures if resolved else None
        run.write_summary({**summary_of(recipe, run), "is_complete": True, "base": base})
    return path


def analysed(run, *, nll, greedy, resolved, recovered):
    """The analysis of its last checkpoint on as many tasks: in each one state of its own, whose label of two tokens
    costs `nll` nats a token. `recovered`: after the accident; None: there was none."""
    path = analysis_path(run, 1)
    for folder, student in ((path, "student"), (teacher_path(run), "teacher")):
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
        subject = {"student": student, "weights": None, "recipe": "minirepo", "num_tasks": len(resolved)}
        (folder / "analysis.json").write_text(json_text(subject))

    def write(folder, name, trajectories):
        with closing(TrajectoryLog(rollouts_path(folder, name))) as log:
            for each in trajectories:
                log.append(each)

    labelled = labelled_turn("student", "left", "right")
    own = [ended(f"own-{place}", f"t{place}", labelled, resolved=each) for place, each in enumerate(resolved)]
    write(path, "own", own)
    accident = labelled_turn("accident", text_action("break"))
    broken = [
        ended(f"b-{place}", f"t{place}", labelled if each is None else accident, resolved=each is not False)
        for place, each in enumerate(recovered)
    ]
    write(path, "breaking", broken)
    shown = labelled_turn("teacher", "right")
    write(
        teacher_path(run),
        "teacher",
        [ended(f"t-{place}", f"t{place}", shown, resolved=True) for place in range(len(resolved))],
    )
    for name, ids in (
        ("own", [each.id for each in own]),
        ("teacher", [f"t-{place}" for place in range(len(resolved))]),
    ):
        with closing(AppendLog(scores_path(path, name))) as log:
            for place, each in enumerate(ids):
                score = {"label_tokens": 2, "label_nll": 2 * nll[place], "is_greedy": greedy[place]}
                log.append_record({"id": each, "turns": [score]})


def analysed_run(path, resolved=(True, True, False, False)):
    """A complete run without evaluations, and the analysis of its last checkpoint."""
    run = evaluated_run(path, ["method=sft", "evaluation.tasks=0"], resolved=())
    number = len(resolved)
    analysed(run, nll=[0.5] * number, greedy=[True] * number, resolved=resolved, recovered=[True] * number)
    return run


def sweep_directory(path, data):
    """A sweep that is begun, and none of its runs."""
    given = comparison_of(data)
    SweepDirectory.open(path, given.text, record_of(given)).close()
    assert hashlib.sha256((path / "comparison.yaml").read_bytes()).hexdigest() == given.digest
    assert yaml.safe_load((path / "comparison.yaml").read_text()) == data
    return path
