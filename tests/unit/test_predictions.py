"""Patches in bytes that are no UTF-8 stay what they are: in verdicts, in runs and in files of predictions."""

import json
from dataclasses import replace

import pytest
from recorded_trajectories import trajectory

from turnmix.core.errors import UserError
from turnmix.core.trajectory import StopReason
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.repositories.grading import unjudged, verdict
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.predictions import predictions_text, read_predictions
from turnmix.environments.repositories.repository import TestResult
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.store.append_log import TrajectoryLog
from turnmix.viewing.transcript import transcript

LATIN = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-caf\xe9\n+caf\xe9s\n"
ROW = TaskRow(
    instance_id="owner__name-1",
    source="hand",
    repository="owner/name",
    image="image:1",
    problem_statement="It is broken.",
    gold_patch="diff --git a/x b/x\n",
    fail_to_pass=("a",),
    test_command="pytest",
    evaluation_script="pytest",
)


def test_a_patch_comes_back_byte_for_byte_from_a_run_and_from_its_predictions(tmp_path):
    judged = trajectory("i001-0", verdict=verdict(TestResult.none_ran(ROW), LATIN))
    log = TrajectoryLog(tmp_path / "trajectories.jsonl")
    log.append(judged)
    log.close()
    (stored,) = TrajectoryLog(log.path, is_writable=False).read(["i001-0"])
    (tmp_path / "predictions.jsonl").write_text(predictions_text([stored], model="m"))
    (prediction,) = read_predictions(tmp_path / "predictions.jsonl")
    assert encoded(prediction.model_patch) == LATIN


def test_what_an_unfinished_agent_left_is_kept_and_said_to_be_unfinished(tmp_path):
    left = replace(
        trajectory("i001-0", verdict=unjudged(ROW, LATIN)),
        stop_reason=StopReason.max_turns,
    )
    (tmp_path / "predictions.jsonl").write_text(predictions_text([left], model="m"))
    (prediction,) = read_predictions(tmp_path / "predictions.jsonl")
    assert encoded(prediction.model_patch) == LATIN
    assert prediction.unfinished


def test_a_transcript_spells_out_bytes_that_are_no_text():
    judged = trajectory("i001-0", verdict=verdict(TestResult.none_ran(ROW), LATIN))
    lines = [line.text for line in transcript(judged)]
    assert "    +caf\\udce9s" in lines
    "\n".join(lines).encode()


def test_a_file_that_another_program_wrote_in_raw_bytes_keeps_them(tmp_path):
    line = {"instance_id": "a", "model_name_or_path": "m", "model_patch": "@"}
    (tmp_path / "p.jsonl").write_bytes(json.dumps(line).encode().replace(b"@", b"+caf\xe9\\n"))
    (prediction,) = read_predictions(tmp_path / "p.jsonl")
    assert encoded(prediction.model_patch) == b"+caf\xe9\n"


@pytest.mark.parametrize(("patch", "reason"), [(3, "valid string"), ("\ud800", "surrogate")])
def test_what_is_no_patch_is_named_with_its_line(tmp_path, patch, reason):
    (tmp_path / "p.jsonl").write_text(json.dumps({"instance_id": "a", "model_patch": patch}) + "\n")
    with pytest.raises(UserError, match=f"line 1: model_patch: .*{reason}"):
        read_predictions(tmp_path / "p.jsonl")


def test_nothing_submitted_is_an_empty_patch(tmp_path):
    unsubmitted = patch_verdict(resolved=False, submitted=False, passed=0, failed=1)
    (tmp_path / "p.jsonl").write_text(
        predictions_text([trajectory("i001-0", verdict=unsubmitted)], model="m")
    )
    (prediction,) = read_predictions(tmp_path / "p.jsonl")
    assert prediction.model_patch == ""


def test_a_line_that_is_no_json_is_named(tmp_path):
    good = json.dumps({"instance_id": "a", "model_patch": ""})
    (tmp_path / "p.jsonl").write_text(f"{good}\n\n{good[:-1]}\n")
    with pytest.raises(UserError, match="line 3: not in SWE-bench's format: no JSON: Expecting"):
        read_predictions(tmp_path / "p.jsonl")


def test_a_mark_of_byte_order_is_no_part_of_the_file(tmp_path):
    line = json.dumps({"instance_id": "a", "model_patch": ""})
    (tmp_path / "p.jsonl").write_bytes(b"\xef\xbb\xbf" + line.encode())
    assert [prediction.instance_id for prediction in read_predictions(tmp_path / "p.jsonl")] == ["a"]


def test_a_task_is_predicted_once_however_its_name_is_written(tmp_path):
    lines = [json.dumps({"instance_id": name, "model_patch": ""}) for name in ("Owner__a-1", "owner__A-1")]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    with pytest.raises(UserError, match="line 2: owner__A-1 was predicted before"):
        read_predictions(tmp_path / "p.jsonl")
