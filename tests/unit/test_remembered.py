"""What an analysis comes to is remembered while its files stay as they are, and no longer."""

import shutil

from stored_runs import analysed_run

from turnmix.analysis.ended_rollouts import ended_rollouts
from turnmix.analysis.instruments import tables_of
from turnmix.analysis.stored import stored_analyses
from turnmix.store.append_log import TrajectoryLog
from turnmix.viewing.page.reported_run import read_reported_run


def test_all_tables_of_an_analysis_read_each_trajectory_once(tmp_path, monkeypatch):
    run = analysed_run(tmp_path / "run")
    read = []
    whole = TrajectoryLog.read

    def counted(log, ids):
        for each in whole(log, ids):
            read.append(each.id)
            yield each

    monkeypatch.setattr(TrajectoryLog, "read", counted)
    read_reported_run(run, "run")
    tables_of(stored_analyses(run))
    assert len(read) == len(set(read)) == 3 * 4


def test_a_file_that_was_written_to_is_read_again(tmp_path):
    run = analysed_run(tmp_path / "run")
    (before,) = stored_analyses(run)
    assert [each.is_resolved for each in ended_rollouts(before, "own")] == [True, True, False, False]
    other = analysed_run(tmp_path / "other", (False, False, False, False))
    shutil.copy(other / "analyses/iteration-001/own.jsonl", before.path / "own.jsonl")
    assert [each.is_resolved for each in ended_rollouts(before, "own")] == [False] * 4
