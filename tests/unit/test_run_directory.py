"""The run directory: append-only logs, one writer, atomic files, a clock that goes on."""

import json
import os
from datetime import datetime

import pytest
from recorded_trajectories import labelled_turn, trajectory

from limited_files import no_file_larger_than
from stored_checkpoints import store_checkpoint
from turnmix.assembly.model_location import model_location
from turnmix.core.atomic_file import write_atomically
from turnmix.core.errors import UserError
from turnmix.running.evaluation_target import located
from turnmix.store.append_log import AppendLog, TrajectoryLog
from turnmix.store.clock import RunClock
from turnmix.store.lock import is_locked
from turnmix.store.run_directory import RunDirectory, stage_id
from turnmix.store.versions import git_revision, versions


def test_trajectories_come_back_equal_and_in_the_order_of_plans(tmp_path):
    later = trajectory("i001-00010", labelled_turn("student", "a", "b", tokens=3))
    earlier = trajectory("i001-00002", labelled_turn("teacher", "\ud800 ü"))
    log = TrajectoryLog(tmp_path / "log")
    for each in (later, earlier, trajectory("i002-00000")):
        assert log.append(each)
    reopened = TrajectoryLog(tmp_path / "log", is_writable=False)
    assert reopened.ids_of("i001") == ["i001-00002", "i001-00010"]
    assert reopened.batches == ["i001", "i002"]
    assert list(reopened.read(reopened.ids_of("i001"))) == [earlier, later]
    assert next(reopened.read(["i001-00002"])).turns[0].label.message.content == "\ud800 ü"


def test_an_id_already_held_is_not_written_again(tmp_path):
    log = AppendLog(tmp_path / "log")
    assert log.append_record({"id": "a", "value": 1})
    assert not log.append_record({"id": "a", "value": 2})
    log.close()
    assert not AppendLog(tmp_path / "log").append_record({"id": "a", "value": 3})
    assert (tmp_path / "log").read_text() == '{"id":"a","value":1}\n'


def test_a_record_that_would_not_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("turnmix.store.append_log.LONGEST_LINE", 1 << 20)
    log = AppendLog(tmp_path / "log")
    log.append_record({"id": "a", "text": "\x01" * 150_000})
    with pytest.raises(
        UserError, match="log: b would take 1 MiB, and a record has at most 1: make shorter what"
    ):
        log.append_record({"id": "b", "text": "\x01" * 200_000})
    log.close()
    assert AppendLog(tmp_path / "log").ids == ("a",)


def test_a_whole_line_that_is_no_record_is_named(tmp_path):
    (tmp_path / "log").write_text('{"id":"a"}\nnonsense\n')
    with pytest.raises(UserError, match="log, line 2: not a record"):
        AppendLog(tmp_path / "log")


def test_a_line_is_parsed_when_its_record_is_asked_for_and_its_damage_named_then(tmp_path):
    lines = ['{"id":"a"}', '{"id":"b","turns":[1,', '{"id":"c","id":"a"}', '{"id":"d"}']
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    log = AppendLog(tmp_path / "log")
    assert log.ids == ("a", "b", "c", "d")
    assert list(log.records(["d", "a"])) == [{"id": "d"}, {"id": "a"}]
    with pytest.raises(
        UserError, match=r"log, line 2: not a record of a run \(JSONDecodeError: .*delete that line"
    ):
        list(log.records(["b"]))
    with pytest.raises(UserError, match=r"log, line 3: not a record of a run .*begins with the id 'c', and"):
        list(log.records(["c"]))


def test_damage_is_told_without_the_line_that_it_is_in(tmp_path):
    (tmp_path / "log").write_bytes(b'{"id":"a","text":"' + b"x" * 100_000 + b'\xff"}\n')
    with pytest.raises(UserError, match=r"log, line 1: not a record .*can't decode byte 0xff") as told:
        list(AppendLog(tmp_path / "log").records(["a"]))
    assert len(str(told.value)) < 400


def test_lines_that_another_program_wrote_are_known_by_their_ids_too(tmp_path):
    ids = ["spaced", 'a"}\\', "ü\ud800", "", "x" * 300, "last"]
    lines = [json.dumps({"value": [{"id": "no"}], "id": each}, indent=None) for each in ids[:-1]]
    lines.append(f"  {json.dumps({'id': ids[-1]}, ensure_ascii=False)} \r")
    (tmp_path / "log").write_text("\n".join(lines) + "\n")
    assert AppendLog(tmp_path / "log", is_writable=False).ids == tuple(ids)


@pytest.mark.parametrize(
    "lengths", [(2**18 - 1, 2**18, 9), (2**18 - 5, 3 * 2**18, 2**19 + 7), (40, 2**20, 0)]
)
def test_a_log_is_opened_whatever_its_lines_lengths_are_beside_those_of_blocks(lengths, tmp_path):
    lines = [f'{{"id":"{number}","text":"{"x" * length}"}}' for number, length in enumerate(lengths)]
    (tmp_path / "log").write_text("\n".join([*lines, '{"id":"cut']))
    log = AppendLog(tmp_path / "log")
    assert [len(record["text"]) for record in log.records(log.ids)] == list(lengths)
    assert (tmp_path / "log").stat().st_size == sum(map(len, lines)) + len(lines)


def test_a_line_too_long_to_be_a_record_is_refused_by_its_number(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        file.write(b'{"id":"a"}\n{"id":"b","text":"')
        file.truncate(70 << 20)
    with pytest.raises(UserError, match="log: line 2 is longer than 64 MiB"):
        AppendLog(tmp_path / "log")


def test_looking_at_a_run_reads_no_log_that_is_not_asked_for(tmp_path):
    RunDirectory.create(tmp_path / "run", recipe_yaml="").close()
    (tmp_path / "run" / "trajectories.jsonl").write_text("nonsense\n")
    run = RunDirectory.read(tmp_path / "run")
    assert (run.last_checkpoint(), run.last_trained(), len(run.evaluations)) == (0, 0, 0)
    with pytest.raises(UserError, match="line 1: not a record"):
        run.trajectories  # noqa: B018
    with pytest.raises(UserError, match="line 1: not a record"):
        RunDirectory.resume(tmp_path / "run")
    (tmp_path / "run" / "trajectories.jsonl").unlink()
    RunDirectory.resume(tmp_path / "run").close()  # what was mended is opened, also by this process


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="method: sft\n")
    with pytest.raises(UserError, match="is being written by another process"):
        RunDirectory.resume(tmp_path / "run")
    RunDirectory.read(tmp_path / "run").close()
    run.close()
    RunDirectory.resume(tmp_path / "run").close()


def test_a_reader_changes_nothing_even_of_a_line_that_is_being_written(tmp_path):
    RunDirectory.create(tmp_path / "run", recipe_yaml="").close()
    log = tmp_path / "run" / "trajectories.jsonl"
    log.write_text('{"id":"a"}\n{"id":"b')
    with_reader = RunDirectory.read(tmp_path / "run")
    assert with_reader.trajectories.ids == ("a",)
    assert log.read_text() == '{"id":"a"}\n{"id":"b'


def test_a_directory_that_holds_a_run_is_refused_with_both_ways_out(tmp_path):
    RunDirectory.create(tmp_path / "run", recipe_yaml="").close()
    with pytest.raises(UserError, match=r"--resume .*run, or name another directory with --run"):
        RunDirectory.create(tmp_path / "run", recipe_yaml="")


def test_a_directory_that_holds_something_else_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(UserError, match=r"not empty \(thesis.tex is in it\)"):
        RunDirectory.create(tmp_path, recipe_yaml="")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_killed_before_its_recipe_was_written_is_begun_anew(tmp_path):
    for name in (".lock", "versions.json", ".recipe.yaml.partial"):
        (tmp_path / name).touch()
    RunDirectory.create(tmp_path, recipe_yaml="method: sft\n").close()
    assert (tmp_path / "recipe.yaml").read_text() == "method: sft\n"


def test_a_directory_without_a_run_cannot_be_resumed_or_read(tmp_path):
    for opening in (RunDirectory.resume, RunDirectory.read):
        with pytest.raises(UserError, match="holds no run"):
            opening(tmp_path)


def test_the_last_checkpoint_is_the_highest_whole_one_whatever_is_missing_below(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    assert run.last_checkpoint() == 0
    for name in ("iteration-002", "iteration-004", ".iteration-005.partial", "iteration-006"):
        store_checkpoint(tmp_path / "run" / "checkpoints" / name)
    (run.checkpoint(6) / "model.safetensors").unlink()
    assert run.last_checkpoint() == 4
    (run.checkpoint(6) / "model.safetensors.index.json").write_text(
        '{"weight_map": {"head": "model-2.safetensors", "body": "model-1.safetensors"}}'
    )
    (run.checkpoint(6) / "model-1.safetensors").touch()
    assert run.last_checkpoint() == 4
    (run.checkpoint(6) / "model-2.safetensors").touch()
    assert run.last_checkpoint() == 6


def test_pruning_leaves_the_last_those_that_an_evaluation_names_and_one_optimisers_state(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    for iteration in (1, 2, 3, 5, 6):
        store_checkpoint(run.checkpoint(iteration))
    evaluation = tmp_path / "run" / "evaluations" / "own-iteration-002"
    evaluation.mkdir(parents=True)
    (evaluation / "evaluation.json").write_text('{"student": "runs/elsewhere/checkpoints/iteration-002"}')
    (tmp_path / "run" / "checkpoints" / ".iteration-004.pruned").mkdir()  # a kill in the midst
    run.prune_checkpoints(2)
    left = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert left == ["iteration-002", "iteration-005", "iteration-006"]
    assert [(run.checkpoint(number) / "learner.pt").is_file() for number in (2, 5, 6)] == [False, False, True]
    assert (run.checkpoint(5) / "model.safetensors").is_file()


def test_weights_of_all_iterations_stay_by_default_and_the_last_optimisers_state(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    for iteration in (1, 2, 3):
        store_checkpoint(run.checkpoint(iteration))
    run.prune_checkpoints(None)
    held = [sorted(path.name for path in run.checkpoint(number).iterdir()) for number in (1, 2, 3)]
    weights = ["config.json", "model.safetensors"]
    assert held == [weights, weights, ["config.json", "learner.pt", "model.safetensors"]]
    assert run.resumed_checkpoint() == run.checkpoint(3)


def test_who_names_a_checkpoint_that_was_deleted_is_told_which_are_left(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    for iteration in (1, 2, 3):
        store_checkpoint(run.checkpoint(iteration))
    run.prune_checkpoints(2)
    left = r"iteration-001: this checkpoint is not there .*: left: \S+/iteration-002, \S+/iteration-003"
    with pytest.raises(UserError, match=left):
        located(str(run.checkpoint(1)))
    with pytest.raises(UserError, match=f"student.model: .*{left}"):
        model_location(str(run.checkpoint(1)), field="student.model")
    assert model_location(str(run.checkpoint(2)), field="student.model") == str(run.checkpoint(2))
    assert located(str(run.checkpoint(2))).run == tmp_path / "run"


def test_what_lies_in_the_way_of_a_checkpoint_to_be_deleted_is_deleted_and_no_link_followed(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    for iteration in (1, 2, 3):
        store_checkpoint(run.checkpoint(iteration))
    folder = run.checkpoint(1).parent
    (tmp_path / "mine").mkdir()
    (folder / ".iteration-001.pruned").symlink_to(tmp_path / "mine")
    (folder / ".iteration-002.pruned").write_text("")
    run.prune_checkpoints(1)
    assert os.listdir(folder) == ["iteration-003"]
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize("keep", [None, 1])
def test_the_last_optimisers_state_stays_where_a_newer_checkpoint_has_none(keep, tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    for iteration in (1, 2, 3, 4):
        store_checkpoint(run.checkpoint(iteration))
    (run.checkpoint(3) / "learner.pt").unlink()
    (run.checkpoint(4) / "config.json").unlink()  # not whole
    run.prune_checkpoints(keep)
    assert run.last_checkpoint() == 3
    assert (run.checkpoint(2) / "learner.pt").is_file()
    assert not (run.checkpoint(1) / "learner.pt").exists()
    with pytest.raises(
        UserError,
        match=r"iteration-003 holds no learner.pt: .*delete .*/checkpoints to have .* student.model=.*003",
    ):
        run.resumed_checkpoint()


def test_what_cannot_be_written_keeps_its_old_content_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "old")
    with no_file_larger_than(10), pytest.raises(OSError, match="File too large") as raised:
        write_atomically(path, "new " * 10)
    assert raised.value.filename == str(path)
    assert ([each.name for each in tmp_path.iterdir()], path.read_text()) == (["file"], "old")


def test_what_is_written_atomically_is_on_the_disk_with_the_name_it_bears(tmp_path, monkeypatch):
    synced, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd)))
    write_atomically(tmp_path / "file", "text")
    assert synced == [str(tmp_path / ".file.partial"), str(tmp_path)]


def test_a_line_that_does_not_fit_leaves_the_log_as_it_was_and_names_it(tmp_path):
    log = AppendLog(tmp_path / "log")
    log.append_record({"id": "a"})
    before = (tmp_path / "log").read_bytes()
    with no_file_larger_than(len(before) + 5), pytest.raises(OSError, match="File too large") as raised:
        log.append_record({"id": "b", "text": "x" * 100})
    assert raised.value.filename == str(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == before
    assert log.append_record({"id": "b"})


def test_a_run_that_cannot_be_written_leaves_no_directory_behind(tmp_path):
    with (
        no_file_larger_than(10),
        pytest.raises(UserError, match="run cannot be written: File too large: name"),
    ):
        RunDirectory.create(tmp_path / "run", recipe_yaml="method: sft\n")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="run cannot be written: Not a directory: name another with --run"):
        RunDirectory.create(tmp_path / "file" / "run", recipe_yaml="method: sft\n")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_run_that_did_not_begin_is_discarded_and_one_that_has_stored_anything_is_not(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    (tmp_path / "run" / "tensorboard").mkdir()
    run.discard()
    run.close()
    assert not (tmp_path / "run").exists()
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    run.trajectories.append(trajectory("i001-00000"))
    run.discard()
    run.close()
    assert len(RunDirectory.read(tmp_path / "run").trajectories) == 1


def test_a_clock_that_cannot_be_written_is_named_and_hides_no_other_failure(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    (tmp_path / "run" / ".clock.json.partial").mkdir()
    with pytest.raises(OSError, match="Is a directory") as raised, run.clock.stage("rollout-001"):
        pass
    assert raised.value.filename == str(tmp_path / "run" / "clock.json")
    with pytest.raises(KeyboardInterrupt), run.clock.stage("rollout-001"):
        raise KeyboardInterrupt
    run.close()
    RunDirectory.resume(tmp_path / "run").close()


@pytest.mark.parametrize("content", ["", "{", "[1]"])
def test_a_damaged_clock_is_named_with_what_it_costs(tmp_path, content):
    RunDirectory.create(tmp_path / "run", recipe_yaml="").close()
    (tmp_path / "run" / "clock.json").write_text(content)
    with pytest.raises(UserError, match=r"clock\.json .*delete it: nothing but durations"):
        RunDirectory.resume(tmp_path / "run")


def test_a_run_is_known_to_be_written_while_it_is_open(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    assert is_locked(tmp_path / "run")
    run.close()
    assert not is_locked(tmp_path / "run")
    assert not is_locked(tmp_path)


def test_a_finished_stage_is_recorded_once(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    assert run.stage_metrics("train", 1) is None
    run.record_stage("train", 1, {"loss": 0.5})
    run.record_stage("train", 1, {"loss": 0.7})
    assert run.stage_metrics("train", 1)["loss"] == 0.5


def test_versions_name_what_the_run_was_begun_with(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    stored = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert datetime.fromisoformat(stored.pop("begun")) == run.begun()
    assert stored == versions()
    assert {"python", "turnmix", "torch", "transformers", "git_revision", "platform"} <= stored.keys()
    assert list(run.changed_versions()) == []
    (tmp_path / "run" / "versions.json").write_text(json.dumps({**stored, "torch": "1.0"}))
    assert list(run.changed_versions()) == [f"torch was 1.0, is {stored['torch']}"]


def test_a_package_outside_any_checkout_has_no_revision(tmp_path):
    assert git_revision(tmp_path) is None


def test_the_clock_adds_up_over_processes_and_stages(tmp_path):
    now = [100.0]
    first = RunClock(tmp_path / "clock.json", clock=lambda: now[0])
    with first.stage(stage_id("rollout", 1)):
        now[0] += 7
        first.tick()
        now[0] += 0.5  # lost: the process is killed half a second after its last tick
    killed = json.dumps({"wall_seconds": 7.0, "stages": {"rollout-001": 7.0}})
    (tmp_path / "clock.json").write_text(killed)
    now[0] = 5000.0
    second = RunClock(tmp_path / "clock.json", clock=lambda: now[0])
    with second.stage("rollout-001"):
        now[0] += 3
        assert second.stage_seconds("rollout-001") == 10.0
    now[0] += 2
    assert (second.wall_seconds, second.stage_seconds("rollout-001")) == (12.0, 10.0)
    assert second.stage_seconds("train-001") is None
    assert json.loads((tmp_path / "clock.json").read_text())["wall_seconds"] == 10.0


def test_the_clock_counts_stages_that_run_beside_each_other_each_from_its_begin_to_its_end(tmp_path):
    now = [0.0]
    clock = RunClock(tmp_path / "clock.json", clock=lambda: now[0])
    with clock.stage("rollout-002"):
        now[0] += 2
        with clock.stage("evaluate-001"):
            now[0] += 3
        now[0] += 1
    stored = json.loads((tmp_path / "clock.json").read_text())
    assert stored == {"wall_seconds": 6.0, "stages": {"evaluate-001": 3.0, "rollout-002": 6.0}}
