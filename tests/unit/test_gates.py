"""The gates of a setting in which resolved tasks are to differ: every figure with its arithmetic."""

from contextlib import closing

import pytest
from recorded_trajectories import labelled_turn
from stored_runs import ended, evaluated_run

from turnmix.analysis.gates import gate_tables
from turnmix.analysis.stored import stored_analyses
from turnmix.core.json_text import json_text
from turnmix.store.analysis_directory import analysis_path, rollouts_path, scores_path, teacher_path
from turnmix.store.append_log import AppendLog, TrajectoryLog

NUM_TASKS = 20
STRAYS = (labelled_turn("student", "left", "right"),)
STRAIGHT = (labelled_turn("student", "right", "right"),)
TAKEN_OVER = (*STRAYS, labelled_turn("teacher", "back"))


def write(folder, name, resolved, turns=lambda place: STRAIGHT):
    folder.mkdir(parents=True, exist_ok=True)
    with closing(TrajectoryLog(rollouts_path(folder, name))) as log:
        for place in range(NUM_TASKS):
            log.append(ended(f"{name}-{place}", f"t{place}", *turns(place), resolved=resolved(place)))


def begun(run, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    subject = {"student": "s", "weights": None, "recipe": "minirepo", "num_tasks": NUM_TASKS}
    (folder / "analysis.json").write_text(json_text(subject))
    return folder


@pytest.fixture
def run(tmp_path):
    """SFT that strays in 14 of 20 tasks and resolves 12, two more than at half its budget; of the 8 that it fails it
    fails 4 once more; the expert that takes over resolves 19 of all, and 13 of the 14."""
    run = evaluated_run(tmp_path / "sft", ["method=sft"])
    half, full = (begun(run, analysis_path(run, iteration)) for iteration in (2, 4))
    teacher = begun(run, teacher_path(run))
    write(half, "own", lambda place: place < 10)
    write(full, "own", lambda place: place < 12, lambda place: STRAIGHT if place < 6 else STRAYS)
    write(full, "resampled", lambda place: place < 16)
    write(full, "rescued", lambda place: place < 19, lambda place: STRAIGHT if place < 6 else TAKEN_OVER)
    write(teacher, "teacher", lambda place: True, lambda place: (labelled_turn("teacher", "right"),))
    for name in ("own", "teacher"):
        with closing(AppendLog(scores_path(full, name))) as log:
            for place in range(NUM_TASKS):
                score = {"label_tokens": 2, "label_nll": 1.0, "is_greedy": place > 0}
                log.append_record({"id": f"{name}-{place}", "turns": [score]})
    return run


def rows(run):
    (table,) = gate_tables(stored_analyses(run))
    return {row[0]: row for row in table.rows}, table.notes[0]


def test_a_gate_says_what_was_found_of_how_many_what_was_asked_and_whether_it_passes(run):
    found, said = rows(run)
    assert {name: (round(row[1].value, 3), *row[2:]) for name, row in found.items() if row[1]} == {
        "expert alone resolves": (1.0, 20, None, None),
        "agreement, the teacher's states": (0.95, 20, "≥ 90 %", "yes"),
        "SFT resolves": (0.6, 20, "30 to 80 %", "yes"),
        "more than at half the budget": (0.1, 20, "> 0 points", "yes"),
        "trajectories that deviate": (0.7, 20, "≥ 50 %", "yes"),
        "fails again when resampled": (0.5, 8, "≤ 60 %", "yes"),
        "expert's headroom off the path": (0.35, 20, "≥ 15 points", "yes"),
        "expert resolves after deviation": (0.929, 14, "≥ 95 %", "no"),
    }
    assert all(row[1].low <= row[1].value <= row[1].high for row in found.values() if row[1])
    assert found["base student resolves"][1] is None
    assert said == "It does not pass 1 of 7 gates: expert resolves after deviation."


def test_what_was_not_measured_is_neither_passed_nor_failed(run):
    rollouts_path(analysis_path(run, 2), "own").unlink()
    found, _ = rows(run)
    assert found["more than at half the budget"][1:] == (
        None,
        0,
        "> 0 points",
        None,
    )


def test_a_student_that_nobody_took_over_from_has_no_gates(run):
    rollouts_path(analysis_path(run, 4), "rescued").unlink()
    assert gate_tables(stored_analyses(run)) == []
