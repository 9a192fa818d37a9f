"""Rules name the primary failure mode of an unresolved trajectory, whatever stands in it."""

import random
from dataclasses import replace

import pytest
from recorded_trajectories import trajectory

from turnmix.analysis.failures.cohen_kappa import cohen_kappa
from turnmix.analysis.failures.findings import ModeFinder, findings_of, kappa_of_rules
from turnmix.analysis.failures.labelled_set import labelled_set
from turnmix.analysis.failures.modes import MEANING, FailureMode
from turnmix.analysis.failures.rules import mode_by_rule
from turnmix.analysis.failures.unresolved import Unresolved
from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import Action, StopReason, Turn
from turnmix.core.verdict import Verdict
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.environments.patch_paths import patch_paths
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.environments.solution_outline import SolutionOutline, solution_outline_of
from turnmix.policies.endpoint.wire import CONTEXT_EXCEEDED
from turnmix.policies.scripted import call_action, text_action
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings
from turnmix.scaffold.text_calls import tools_told
from turnmix.scaffold.think import Finish

PATCH = "--- a/shelf.py\n+++ b/shelf.py\n@@ -1 +1 @@\n-1\n+2\n"
TOOL = ToolSpecification(name="execute_bash", description="", parameters={"type": "object"})
EDIT = call_action("execute_bash", command="sed -i 's/1/2/' shelf.py")


def turn(action, *answers):
    observation = tuple(Message(role="tool", content=answer, tool_call_id="call_0") for answer in answers)
    return Turn(actor="student", action=action, observation=observation)


def bash(command, answer="done"):
    return turn(call_action("execute_bash", command=command), answer)


def unresolved(*turns, stop=StopReason.finished, patch=PATCH, solved_in=("shelf.py",), passed=1, before=None):
    submitted = stop is StopReason.finished and bool(patch)
    made = trajectory(
        "e000-00000",
        *turns,
        stop_reason=stop,
        verdict=patch_verdict(resolved=False, submitted=submitted, passed=passed, failed=1, patch=patch),
    )
    outline = (
        None if solved_in is None else SolutionOutline(paths=frozenset(solved_in), passing_before=before)
    )
    return Unresolved(trajectory=replace(made, tools=(TOOL,)), outline=outline)


def different(number):
    return [bash(f"cat {index}", str(index)) for index in range(number)]


REFUSED = turn(call_action("bash", cmd="ls"), "ERROR: There is no tool 'bash'.")
UNREADABLE = turn(replace(text_action("<tool_call>{"), parse_error="not closed"), "ERROR: unreadable")
LOST = turn(replace(text_action(""), parse_error=CONTEXT_EXCEEDED), "ERROR: unreadable")


@pytest.mark.parametrize(
    ("mode", "case"),
    {
        "no_edit": unresolved(patch=""),
        "wrong_file": unresolved(solved_in=("door.py",)),
        "syntax_or_runtime_error": unresolved(turn(EDIT, ""), bash("pytest", "E   NameError: name 'x'")),
        "repetitive_loop": unresolved(*[bash("cat 1")] * 4, stop=StopReason.stuck),
        "tool_use_error": unresolved(*different(1), REFUSED, UNREADABLE, stop=StopReason.max_turns),
        "context_overflow": unresolved(*different(3), stop=StopReason.max_tokens),
        "budget_exhaustion": unresolved(*different(3), stop=StopReason.max_turns),
    }.items(),
)
def test_each_mode_is_found(mode, case):
    assert mode_by_rule(case) is FailureMode[mode]


def test_a_change_in_the_right_place_without_a_visible_fault_is_left_to_a_judge():
    assert mode_by_rule(unresolved(turn(EDIT, ""), bash("pytest", "4 passed"))) is None


def test_who_does_not_tell_where_a_task_is_solved_has_no_wrong_files():
    assert mode_by_rule(unresolved(solved_in=None)) is None


def test_an_error_that_was_there_before_the_first_edit_is_the_tasks_own():
    seen = bash("pytest", "FAIL test_take TypeError\n1 failed")
    assert mode_by_rule(unresolved(seen, turn(EDIT, ""), seen)) is None


def test_an_error_that_a_later_edit_mended_counts_no_more():
    broken = bash("pytest", "ERROR IndentationError")
    assert (
        mode_by_rule(unresolved(turn(EDIT, ""), broken, turn(EDIT, ""), bash("pytest", "1 passed"))) is None
    )


def test_an_error_is_no_word_in_a_file_that_is_shown():
    shown = bash("cat shelf.py", '     3\t    raise ValueError("count")\n./shelf.py:3: TypeError')
    assert mode_by_rule(unresolved(turn(EDIT, ""), shown)) is None


def test_where_nothing_passes_that_passed_before_the_change_does_not_run():
    assert mode_by_rule(unresolved(passed=0, before=3)) is FailureMode.syntax_or_runtime_error
    assert mode_by_rule(unresolved(passed=0, before=0)) is None


def test_repeating_half_of_the_turns_is_a_loop_whatever_stopped_it():
    turns = [*different(3), *different(3)]
    for stop in (StopReason.max_turns, StopReason.max_tokens, StopReason.wall_time):
        assert mode_by_rule(unresolved(*turns, stop=stop)) is FailureMode.repetitive_loop


def test_a_model_that_can_read_no_further_has_a_context_overflow():
    for stop in (StopReason.stuck, StopReason.max_turns):
        case = unresolved(*different(3), LOST, LOST, LOST, stop=stop)
        assert mode_by_rule(case) is FailureMode.context_overflow


def test_an_agent_that_calls_no_tool_fails_at_using_them_but_not_where_there_is_none():
    talk = [turn(text_action(str(number)), "go on") for number in range(3)]
    case = unresolved(*talk, stop=StopReason.max_turns)
    assert mode_by_rule(case) is FailureMode.tool_use_error
    talker = replace(case.trajectory, tools=())
    assert mode_by_rule(Unresolved(trajectory=talker, outline=None)) is FailureMode.budget_exhaustion


def test_calls_that_an_agent_writes_as_text_are_read():
    told = Message(role="system", content=tools_told((Finish().specification,)))
    said = '<tool_call>{"name": "finish", "arguments": {"message": "%s"}}</tool_call>'
    case = unresolved(*[turn(text_action(said % n), str(n)) for n in range(3)], stop=StopReason.max_turns)
    talker = Unresolved(trajectory=replace(case.trajectory, tools=(), prompt=(told,)), outline=None)
    assert mode_by_rule(talker) is FailureMode.budget_exhaustion
    broken = replace(talker.trajectory, turns=(turn(text_action("<tool_call>{"), "ERROR: unreadable"),))
    assert mode_by_rule(Unresolved(trajectory=broken, outline=None)) is FailureMode.tool_use_error


def test_a_world_without_patches_has_the_modes_of_unfinished_trajectories():
    made = trajectory("e000-00000", *different(3), verdict=Verdict(resolved=False))
    assert mode_by_rule(Unresolved(trajectory=made, outline=None)) is None
    over = replace(made, stop_reason=StopReason.limit_exceeded)
    assert mode_by_rule(Unresolved(trajectory=over, outline=None)) is FailureMode.budget_exhaustion


def test_counts_add_up_and_infra_errors_stand_apart():
    resolved = trajectory("a")
    lost = trajectory("b", verdict=None, stop_reason=StopReason.infra_error)
    looped = replace(unresolved(*[bash("ls")] * 4, stop=StopReason.stuck).trajectory, id="c")
    left = replace(unresolved(solved_in=None).trajectory, id="d")
    found = findings_of([resolved, lost, looped, left], {}, ModeFinder(None, {}))
    assert (found.num_trajectories, found.num_infra_errors, found.num_judged) == (4, 1, 3)
    assert (found.num_resolved, found.num_unresolved, found.num_not_judged) == (1, 2, 1)
    assert found.modes == {FailureMode.repetitive_loop: 1}


HOSTILE = [
    "",
    "\ud800\x00\x1b[31m\u202e",
    "E   " * 30_000,
    "a." * 60_000 + "Error",
    "ERROR " + "E" * 100_000 + "Error:",
    '{"a":' * 5_000,
    "<tool_call>" * 5_000,
    "diff --git a/" + " b/" * 20_000,
    '+++ "b/\\377\\8\\x' + "\\" * 9_999 + '"',
    "@@ -1,999999999 +1,999999999 @@\n+++ b/x",
    "sed " + "-i " * 30_000,
]


def test_nothing_that_an_agent_writes_breaks_a_rule():
    draw = random.Random(0)
    for stop in StopReason:
        for text in HOSTILE:
            odd = draw.choice([text, [text], {"command": text}, None, 7, True])
            call = ToolCall(id=text, name=text, arguments=draw.choice([{"command": odd}, {text: odd}, odd]))
            action = Action(message=Message(role="assistant", content=text, tool_calls=(call,)))
            turns = (turn(action, text, text), turn(text_action(text)), turn(action))
            details = {"patch": draw.choice([text, odd]), "passed": odd, "submitted": odd}
            made = trajectory("x", *turns, verdict=Verdict(resolved=False, details=details), stop_reason=stop)
            for tools in ((), (TOOL,)):
                outline = SolutionOutline(paths=frozenset({text}), passing_before=1)
                case = Unresolved(trajectory=replace(made, tools=tools), outline=outline)
                assert mode_by_rule(case) in {*FailureMode, None}


def test_the_files_of_a_patch_are_those_of_its_headers():
    renamed = 'diff --git a/old b/new\nsimilarity index 90%\nrename from old\nrename to "n\\303\\251w"\n'
    hidden = "--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1,2 @@\n--- b/not.py\n+++ b/not.py\n context\n"
    added = "--- /dev/null\n+++ b/new file.py\t2026-01-01\n@@ -0,0 +1 @@\n+x\n"
    mode = "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
    assert patch_paths(renamed + hidden + added + mode) == {"old", "néw", "x.sql", "new file.py", "run.sh"}
    assert patch_paths("no patch") == frozenset()


def test_embedded_tasks_tell_where_they_are_solved():
    source = MinirepoSource(
        MinirepoSettings(), make_sandbox=BubblewrapSettings().make, scaffold=ScaffoldSettings()
    )
    task = source.tasks("holdout")[0]
    outline = solution_outline_of(source, task)
    assert outline.paths == set(source.solution(task).files)
    assert outline.paths < set(task.workspace.files)


def test_rules_agree_with_a_reader_of_trajectories_that_no_rule_was_written_for():
    labelled = labelled_set()
    assert len(labelled) >= 60
    assert {each.mode for each in labelled} == set(FailureMode)
    assert len({each.unresolved.trajectory.id for each in labelled}) == len(labelled)
    held_out = [each for each in labelled if each.is_held_out]
    assert kappa_of_rules(labelled).value > 0.8
    assert kappa_of_rules(held_out).is_enough
    assert len(held_out) == len(labelled) // 3


def test_kappa_of_one_label_alone_is_not_defined():
    assert cohen_kappa([("a", "a")] * 9).value is None
    assert cohen_kappa([]).value is None
    assert cohen_kappa([("a", "b")] * 9).value == 0.0


def test_every_mode_has_a_meaning():
    assert set(MEANING) == set(FailureMode)
