"""Small runs made by hand, for tests of reports: two iterations, an evaluation before and one after."""

import hashlib
import json
from contextlib import closing
from dataclasses import replace
from html.parser import HTMLParser

from turnmix.core.json_text import json_text
from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, StopReason, Trajectory, Turn
from turnmix.core.verdict import Verdict
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.store.run_directory import RunDirectory

NUM_TASKS = 6
HOSTILE = (
    "</script><script>document.title='ran'</script><img src=x onerror=alert(1)>\u2028\u202e\x1b[2J\udc80"
    "<!--<script>${{constructor}}javascript:alert(1)\"'`&lt;"
)
"""What ends a script, a tag, an attribute and a comment, commands a terminal, and is no text."""


def call(name, **arguments):
    return Action(
        message=Message(
            role="assistant",
            content="",
            tool_calls=(ToolCall(id="call_0", name=name, arguments=arguments),),
        )
    )


def seen(text):
    return (Message(role="tool", content=text, tool_call_id="call_0"),)


def turn(actor, action, observation="ok", label=None):
    return Turn(
        actor=actor,
        action=action,
        observation=seen(observation),
        label=action if actor == "teacher" else label,
    )


LOOK = turn("teacher", call("execute_bash", command="ls"), "garden.py\nrun_tests.py")
AGREEING = turn("student", call("think", thought="hm"), label=call("think", thought="hm"))
DIFFERING = turn(
    "student",
    call("str_replace_editor", command="create", path="/testbed/garden.py", file_text="broken = (\n"),
    "\n".join(f"line {number} of a long answer" for number in range(40)),
    label=call("execute_bash", command="python3 run_tests.py"),
)
FINISH = turn("student", call("finish", message="done"))


def trajectory(
    trajectory_id, *turns, task="task-0", iteration=1, resolved=True, stop="finished", details=None
):
    return Trajectory(
        id=trajectory_id,
        task_id=task,
        iteration=iteration,
        seed=0,
        tools=(),
        prompt=(Message(role="user", content="Repair it."),),
        turns=turns,
        stop_reason=StopReason(stop),
        verdict=None if resolved is None else Verdict(resolved=resolved, details=details or {}),
        beta=0.5,
    )


def figures(resolved, n=NUM_TASKS):
    ends = {"finished": resolved, "max_turns": n - resolved}
    return {"resolved": resolved, "n": n, "low": 0.1, "high": 0.9, "stop_reasons": ends, "infra_errors": 0}


def evaluations(iteration, num_resolved):
    return [
        trajectory(
            f"e{iteration:03d}-{number:05d}",
            FINISH,
            task=f"holdout-{number}",
            iteration=iteration,
            resolved=number < num_resolved,
            stop="finished" if number < num_resolved else "max_turns",
        )
        for number in range(NUM_TASKS)
    ]


ROLLOUTS = (
    trajectory("i001-00000", LOOK, AGREEING, FINISH, task="train-0"),
    trajectory("i001-00001", LOOK, DIFFERING, FINISH, task="train-1", resolved=False),
    trajectory(
        "i002-00000",
        AGREEING,
        DIFFERING,
        DIFFERING,
        task="train-2",
        iteration=2,
        resolved=False,
        stop="stuck",
    ),
)


def make_run(path, rollouts=ROLLOUTS, *, resolved=(1, 5), recipe=None, is_complete=True):
    """A run whose base student resolves `resolved[0]` of 6 tasks, and whose last one `resolved[1]`."""
    text = recipe_yaml(load_recipe("minirepo_dagger", ["iterations=2"])) if recipe is None else recipe
    with closing(RunDirectory.create(path, recipe_yaml=text)) as run:
        for iteration in (1, 2):
            run.record_stage("train", iteration, {"step_losses": [1.0 / iteration, 0.25, 0.125], "labels": 9})
        rows = [
            {
                "iteration": iteration,
                "beta": 1.5 - iteration / 2,
                "realised_beta": 1.0 if iteration == 1 else 0.4375,
                "rollouts": 3,
                "resolved": 1,
                "infra_errors": 0,
                "labels": 9,
                "loss": 0.125,
                "eval": figures(resolved[1]) if iteration == 2 else None,
            }
            for iteration in (1, 2)
        ]
        summary = {
            "method": "dagger",
            "seed": 0,
            "is_complete": is_complete,
            "base": figures(resolved[0]),
            "iterations": rows,
            "wall_seconds": 61.5,
        }
        run.write_summary(summary)
    # At once, not line by line onto the disk.
    write_log(path / "trajectories.jsonl", rollouts)
    write_log(path / "evaluations.jsonl", [*evaluations(0, resolved[0]), *evaluations(2, resolved[1])])
    return path


def analyse(run, iteration=2):
    """As if the last student had been looked at: alone, and after an accident."""
    folder = run / "analyses" / f"iteration-{iteration:03d}"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text((run / "recipe.yaml").read_text())
    (folder / "analysis.json").write_text(
        json_text({"student": "x", "recipe": "x", "num_tasks": 2, "weights": None})
    )
    accident = turn("accident", DIFFERING.action, label=LOOK.action)
    alone = [
        trajectory("own002-00000", AGREEING, AGREEING, task="holdout-0", iteration=iteration),
        trajectory(
            "own002-00001",
            AGREEING,
            DIFFERING,
            task="holdout-1",
            iteration=iteration,
            resolved=False,
            stop="stuck",
        ),
    ]
    broken = [
        trajectory(
            "breaking002-00000", accident, DIFFERING, task="holdout-0", iteration=iteration, resolved=False
        )
    ]
    write_log(folder / "own.jsonl", alone)
    write_log(folder / "breaking.jsonl", broken)
    scores = [
        {"label_tokens": 4, "label_nll": nll, "is_greedy": nll < 1, "label_kind": "test"}
        for nll in (0.5, 2.5)
    ]
    lines = [{"id": each.id, "turns": scores} for each in alone]
    (folder / "own-scores.jsonl").write_text("".join(f"{json_text(line)}\n" for line in lines))
    return run


def make_sweep(path):
    """Two arms, one seed."""
    path.mkdir()
    text = (
        "name: small\nrecipe: minirepo_dagger\narms: {sft: [method=sft], dagger: []}\noutcomes: [resolved]\n"
    )
    (path / "comparison.yaml").write_text(text)
    record = {
        "name": "small",
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "fixed": "2026-11-26T16:53:56+00:00",
        "commit": None,
        "machine": {},
    }
    (path / "comparison.json").write_text(json_text(record))
    make_run(path / "sft-seed-0", resolved=(1, 2))
    make_run(path / "dagger-seed-0", resolved=(1, 5))
    return path


def write_log(path, trajectories):
    path.write_text("".join(f"{json_text(each.to_json(), separators=(',', ':'))}\n" for each in trajectories))


def hostile_run(path):
    action = call(HOSTILE, **{HOSTILE: HOSTILE, "nested": [HOSTILE]})
    action = replace(action, message=replace(action.message, content=HOSTILE), parse_error=HOSTILE)
    turns = [replace(DIFFERING, action=action, label=action, observation=seen(HOSTILE * 300))]
    hostile = trajectory(
        "i001-" + HOSTILE, *turns, task=HOSTILE, resolved=False, details={HOSTILE: HOSTILE + "\n" + HOSTILE}
    )
    shown = HOSTILE.replace("\udc80", "").replace("\x1b", "")
    recipe = json.dumps({"method": shown, "student": {"model": shown}, shown: shown})
    return make_run(path, [*ROLLOUTS, hostile], recipe=recipe)


def many(number, turns):
    """Trajectories of so many turns each, no two alike."""
    return [
        trajectory(
            f"i001-{place:05d}",
            *(
                replace(DIFFERING, observation=seen(f"{place} {step}\n" + "a line of some length\n" * 30))
                for step in range(turns)
            ),
            task=f"train-{place}",
            resolved=bool(place % 3),
        )
        for place in range(number)
    ]


class Elements(HTMLParser):
    """What a page is made of, as a browser reads it."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.scripts = [], [], []
        self._is_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if self._is_script:
            raise AssertionError(f"{tag} in a script")
        if tag == "script":
            self.scripts.append((dict(attrs), []))
            self._is_script = True

    def handle_endtag(self, tag):
        self._is_script = False if tag == "script" else self._is_script

    def handle_data(self, data):
        if self._is_script:
            self.scripts[-1][1].append(data)

    def script(self, script_id):
        """The value in a script of data."""
        (found,) = ["".join(text) for attributes, text in self.scripts if attributes.get("id") == script_id]
        return json.loads(found)
