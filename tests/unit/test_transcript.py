"""A trajectory as a person reads it, against a golden file: TURNMIX_UPDATE_GOLDEN=1 writes it anew."""

import os
from dataclasses import replace

import pytest

from turnmix.core.message import Message
from turnmix.core.trajectory import StopReason, Trajectory, Turn
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.policies.scripted import call_action, text_action
from turnmix.viewing.transcript import differs, transcript

LONG = "\n".join(
    f"FAILED tests/test_{number}.py - AssertionError: {number} != {number + 1}" for number in range(20)
)
PATCH = (
    "--- a/area.py\n+++ b/area.py\n@@ -1,2 +1,2 @@\n def area(a, b):\n-    return a + b\n+    return a * b\n"
)


def told(text):
    return (Message(role="tool", content=text, tool_call_id="call_0"),)


VIEW = call_action("str_replace_editor", command="view", path="/testbed/area.py", view_range=[1, 2])
TEST = call_action("execute_bash", command="python3 run_tests.py")
EDIT = call_action(
    "str_replace_editor",
    command="str_replace",
    path="/testbed/area.py",
    old_str="    a = 1\n    return a + b",
    new_str="    return a * b",
)
MALFORMED = replace(
    text_action('<tool_call>{"name": "fin'), parse_error="the JSON ends in the middle of a string"
)
FINISH = call_action("finish", message="done")

EXAMPLE = Trajectory(
    id="i002-00007",
    task_id="minirepo-0-train-00042",
    iteration=2,
    seed=1,
    beta=0.8,
    tools=(),
    prompt=(
        Message(role="system", content="You repair Python repositories."),
        Message(role="user", content="area(2, 3) should return 6, but it does not. " * 3),
    ),
    turns=(
        Turn(actor="teacher", action=TEST, observation=told(LONG), label=TEST),
        Turn(actor="student", action=VIEW, observation=told("     1\tdef area(a, b):\r\n"), label=VIEW),
        Turn(actor="student", action=TEST, observation=told("\x1b[31mno\x1b[0m"), label=EDIT),
        Turn(actor="student", action=MALFORMED, observation=(Message(role="user", content="Again."),)),
        Turn(actor="student", action=text_action(""), observation=told(""), label=FINISH),
        Turn(actor="teacher", action=FINISH, observation=told("submitted"), label=FINISH),
    ),
    stop_reason=StopReason.finished,
    verdict=patch_verdict(resolved=True, submitted=True, passed=5, failed=0, patch=PATCH),
)


def text(**options):
    return "\n".join(line.text for line in transcript(EXAMPLE, **options)) + "\n"


def test_a_transcript_reads_as_the_golden_file(request):
    golden = request.config.rootpath / "tests" / "golden" / "transcript.txt"
    if os.environ.get("TURNMIX_UPDATE_GOLDEN"):
        golden.write_text(text())
    assert text() == golden.read_text()


@pytest.mark.parametrize("width", [40, 80])
def test_no_line_is_wider_than_asked_and_none_commands_the_terminal(width):
    for line in text(width=width).split("\n"):
        assert len(line) <= width
        assert line.isprintable()


def test_a_full_transcript_hides_nothing():
    assert "more lines" in text()
    assert "more lines" not in text(is_full=True)
    assert "tests/test_10.py" in text(is_full=True)


def test_a_label_differs_by_what_it_does_not_by_what_it_says_beside():
    other_id = replace(VIEW.message.tool_calls[0], id="call_9")
    spoken = replace(VIEW, message=replace(VIEW.message, content="Let me look.", tool_calls=(other_id,)))
    assert not differs(spoken, VIEW)
    assert differs(TEST, VIEW)
    assert not differs(None, VIEW)


def test_an_infra_error_shows_what_failed():
    failed = replace(
        EXAMPLE, verdict=None, stop_reason=StopReason.infra_error, error="TeacherError: no route"
    )
    lines = transcript(failed)
    assert "not judged: infra_error" in lines[1].text
    assert ("problem", "infra_error: TeacherError: no route") in [(line.part, line.text) for line in lines]


def test_calls_between_actions_are_shown_as_those_of_an_imported_message_that_is_not_learned():
    seen = replace(FINISH.message, content="I end.")
    example = replace(
        EXAMPLE,
        prompt=(*EXAMPLE.prompt, TEST.message),
        turns=(Turn(actor="teacher", action=VIEW, observation=(seen,), label=VIEW),),
    )
    lines = [line.text for line in transcript(example)]
    assert "  command: python3 run_tests.py" in [line.removeprefix("  ") for line in lines]
    at = lines.index("  │ I end.")
    assert lines[at + 1 : at + 3] == ["  │ finish", "  │   message: done"]
