"""The loop over a world without sandboxes, and a student that learns by heart."""

import asyncio
import json
import shutil
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stored_checkpoints import store_checkpoint
from turnmix.core.errors import InfrastructureError, TeacherError, TrainingError, UserError
from turnmix.core.untaught import Objection, Untaught
from turnmix.core.usage import Usage
from turnmix.environments.counting import CountingSource
from turnmix.loop.loop import Loop
from turnmix.loop.task_order import sampled_tasks
from turnmix.policies.scoring import TokenPath
from turnmix.policies.scripted import ScriptedPolicy, call_action
from turnmix.recipe.recipe import Recipe
from turnmix.rendering.control_text import ControlTextCount
from turnmix.rendering.drift import Drift
from turnmix.store.run_directory import RunDirectory
from turnmix.training.fit_report import StepReport
from turnmix.training.learner_settings import LearnerSettings
from turnmix.viewing.report import stage_text
from turnmix.viewing.run_warnings import run_warnings


@dataclass(frozen=True, kw_only=True)
class Learned:
    """The counts that a fit reports."""

    transitions: int
    label_tokens: int = 0
    dropped_too_long: int = 0
    untaught: tuple = ()
    tree_tokens: int = 0
    separate_tokens: int = 0
    first_epoch_loss: float | None = None
    last_epoch_loss: float | None = None
    passes: dict = field(default_factory=dict)
    objective: dict = field(default_factory=dict)


@dataclass(kw_only=True)
class MemorisingStudent:
    """Does what it was taught in a conversation of the same length; finishes where it was taught nothing."""

    memory: dict = field(default_factory=dict)
    fits: list = field(default_factory=list)
    has_room_beside_learning: bool = True
    acts_twice: bool = True

    def policy(self, *, greedy):
        def script(episode, state):
            return self.memory.get(len(state.messages), call_action("finish"))

        return ScriptedPolicy("student", script)

    def base_policy(self):
        return ScriptedPolicy("student", lambda episode, state: call_action("finish"))

    def learn(self, transitions, *, generator, on_step):
        self.fits.append([(each.trajectory_id, len(each.state.messages)) for each in transitions])
        self.memory.update({len(each.state.messages): each.target for each in transitions})
        return Learned(transitions=len(transitions), objective={"mean_weight": 1.0})

    def count_tokens(self, action):
        return 1

    def token_path(self, transition):
        state = tuple(range(len(transition.state.messages)))
        return TokenPath(prompt_ids=state, target_ids=(len(state), 99))

    def control_texts(self, trajectories):
        return ControlTextCount(as_text=len(trajectories), as_tokens=1)

    def drift(self, trajectories):
        return Drift(turns=len(trajectories), differing=1)

    def save(self, checkpoint: Path):
        store_checkpoint(checkpoint)


def teach(episode, state):
    goal = int(episode.task.problem_statement.split(",")[0].split()[-1])
    reached = sum(message.role == "assistant" for message in state.messages)
    return call_action("add", amount=1) if reached < goal else call_action("finish")


class Silent:
    def begin(self, stage, iteration, *, total, done): ...
    def advance(self, stage, iteration, *, done, note): ...
    def end(self, stage, iteration, figures): ...


class SteppingStudent(MemorisingStudent):
    """Learns in two steps."""

    def learn(self, transitions, *, generator, on_step):
        for step in (1, 2):
            on_step(StepReport(step=step, num_steps=2, loss=1 / step, gradient_norm=1.0, learning_rate=1e-3))
        return super().learn(transitions, generator=generator, on_step=on_step)


class Points(list):
    def log(self, figures, *, step):
        self.append((step, figures))


def recipe(**changes):
    return Recipe.model_validate(
        {
            "method": "dagger",
            "iterations": 2,
            "student": {"cohort_size": 4},
            "rollouts": {"tasks_per_iteration": 8, "attempts": 1},
            "evaluation": {"tasks": 5},
            "learner": LearnerSettings(),
            **changes,
        }
    )


def loop(
    path, *, teacher=teach, opened=None, student=None, scorer=None, metrics=None, is_resumed=False, **changes
):
    made = recipe(**changes)
    run = RunDirectory.resume(path) if is_resumed else RunDirectory.create(path, recipe_yaml="")

    def open_teacher():
        if opened is not None:
            opened.append("teacher")
        return ScriptedPolicy("teacher", teacher)

    return Loop(
        made,
        run=run,
        source=CountingSource(),
        teacher=open_teacher,
        scorer=scorer,
        student=student or MemorisingStudent(),
        progress=Silent(),
        metrics=Points() if metrics is None else metrics,
    ), run


def test_figures_lie_over_optimiser_steps_also_those_of_a_resumed_run(tmp_path):
    whole, begun, resumed = Points(), Points(), Points()
    student = SteppingStudent()
    loop(tmp_path / "whole", student=student, metrics=whole)[0].run()
    stages = [(step, next(iter(figures))) for step, figures in whole]
    assert [step for step, _ in stages] == sorted(step for step, _ in stages)
    assert sorted(stages) == [
        *((0, "evaluate"), (0, "rollout"), (1, "step")),
        *((2, "evaluate"), (2, "rollout"), (2, "step"), (2, "train"), (3, "step")),
        *((4, "evaluate"), (4, "step"), (4, "train")),
    ]
    student = SteppingStudent()
    training, run = loop(tmp_path / "cut", student=student, metrics=begun, iterations=1)
    training.run()
    run.close()
    loop(tmp_path / "cut", student=student, metrics=resumed, is_resumed=True)[0].run()
    assert sorted([*begun, *resumed], key=repr) == sorted(whole, key=repr)


def test_the_base_student_may_be_measured_after_the_first_iteration_to_the_same_figures(tmp_path):
    evaluation = {"tasks": 5, "every": 2}
    early = loop(tmp_path / "early", evaluation=evaluation)[0].run()
    points = Points()
    training, run = loop(
        tmp_path / "late",
        evaluation={**evaluation, "base": "late"},
        student=SteppingStudent(),
        metrics=points,
    )
    late = training.run()
    for summary in (early, late):
        del summary["wall_seconds"]
        for row in summary["iterations"]:
            del row["seconds"]
    assert late == early
    stages = ["rollout-001", "train-001", "rollout-002", "train-002", "evaluate-002"]
    assert [stage for stage in run.metrics.ids if stage != "evaluate-000"] == stages
    assert run.metrics.ids[-1] == "evaluate-002"
    assert [step for step, _ in points] == sorted(step for step, _ in points)


WAIT = 300.0
"""Seconds after which what is waited for will not come."""


class WatchingStudent(MemorisingStudent):
    """Calls `seen` with the trajectory it acts in, "base" before it where its base acts."""

    def __init__(self, seen, **changes):
        super().__init__(**changes)
        self.seen = seen

    def policy(self, *, greedy):
        return self._seen_by(super().policy(greedy=greedy), "")

    def base_policy(self):
        return self._seen_by(super().base_policy(), "base ")

    def _seen_by(self, policy, who):
        def script(episode, state):
            self.seen(who + episode.trajectory_id)
            return call_action("finish")

        return ScriptedPolicy(policy.name, script)


def test_a_student_is_evaluated_beside_the_next_rollouts_and_before_it_learns_on(tmp_path):
    has_rolled_out, events = threading.Event(), []

    def seen(trajectory):
        if trajectory.startswith("i002"):
            has_rolled_out.set()
        elif trajectory.startswith("e001"):
            assert has_rolled_out.wait(WAIT)
        events.append(trajectory[:4])

    student = WatchingStudent(seen)
    student.learn = lambda transitions, **_: (events.append("learn"), Learned(transitions=0))[1]
    summary = loop(tmp_path / "run", student=student, mixture={"floor": 0, "decay": 1})[0].run()
    assert events.count("e001") == 5
    first, second = (index for index, event in enumerate(events) if event == "learn")
    assert {"i001", "e000"} >= set(events[:first])
    assert set(events[first:second]) == {"learn", "i002", "e001"}
    assert summary["is_complete"]


@pytest.mark.parametrize("has_room", [True, False])
def test_the_base_student_is_measured_beside_learning_where_there_is_room(tmp_path, has_room):
    is_learning, acts, was_beside = threading.Event(), threading.Event(), []

    def seen(trajectory):
        if trajectory.startswith("base"):
            assert is_learning.wait(WAIT)
            acts.set()

    def learn(transitions, **_):
        is_learning.set()
        was_beside.append(acts.wait(WAIT if has_room else 0.2))
        return Learned(transitions=0)

    student = WatchingStudent(seen, has_room_beside_learning=has_room)
    student.learn = learn
    training, run = loop(tmp_path / "run", student=student, evaluation={"tasks": 5, "base": "late"})
    training.run()
    assert was_beside == [has_room, True]
    assert len(run.evaluations.ids_of("e000")) == 5


def test_a_student_that_acts_once_at_a_time_is_evaluated_before_it_rolls_out(tmp_path):
    events = []
    student = WatchingStudent(lambda trajectory: events.append(trajectory[:4]), acts_twice=False)
    loop(tmp_path / "run", student=student, mixture={"floor": 0, "decay": 1})[0].run()
    assert list(dict.fromkeys(events)) == ["e000", "e001", "i002", "e002"]


def test_what_fails_in_an_evaluation_ends_the_rollouts_beside_it_and_is_what_is_told(tmp_path):
    def seen(trajectory):
        if trajectory.startswith("e001"):
            raise TrainingError("broken")

    training, run = loop(
        tmp_path / "run", student=WatchingStudent(seen), rollouts={"tasks_per_iteration": 8, "concurrency": 4}
    )
    with pytest.raises(TrainingError, match=r"^broken$"):
        training.run()
    assert run.stage_metrics("train", 2) is None
    run.close()
    assert loop(tmp_path / "run", is_resumed=True)[0].run()["is_complete"]


def test_what_fails_in_training_ends_the_evaluation_beside_it(tmp_path):
    acts, is_closed = threading.Event(), threading.Event()

    async def sleep(seconds):
        acts.set()
        await asyncio.sleep(seconds)

    class Slow(ScriptedPolicy):
        async def close(self):
            is_closed.set()

    def learn(transitions, **_):
        assert acts.wait(WAIT)
        raise TrainingError("diverged")

    student = MemorisingStudent()
    student.base_policy = lambda: Slow.of_actions(
        "student", [call_action("finish")], latency=10 * WAIT, sleep=sleep
    )
    student.learn = learn
    training, run = loop(tmp_path / "run", student=student, evaluation={"tasks": 5, "base": "late"})
    with pytest.raises(TrainingError, match="diverged"):
        training.run()
    assert is_closed.is_set()
    assert len(run.evaluations) == 0


def test_a_run_leaves_its_summary_and_every_trajectory(tmp_path):
    training, run = loop(tmp_path / "run")
    summary = training.run()
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    assert (summary["method"], summary["seed"], summary["is_complete"]) == ("dagger", 0, True)
    assert (summary["base"]["resolved"], summary["base"]["n"]) == (0, 5)
    first, second = summary["iterations"]
    assert (first["iteration"], first["beta"], first["realised_beta"], first["rollouts"]) == (1, 1.0, 1.0, 8)
    assert (first["resolved"], first["infra_errors"]) == (8, 0)
    assert (first["drift"], summary["drift"]) == ({"turns": 8, "differing": 1}, {"turns": 16, "differing": 2})
    assert first["control_texts"] == {"as_text": 8, "as_tokens": 1}
    assert summary["control_texts"] == {"as_text": 16, "as_tokens": 2}
    assert (second["beta"], second["eval"]["n"]) == (0.8, 5)
    assert set(first["seconds"]) == {"rollout", "train", "evaluate"}
    assert len(run.trajectories) == 16
    assert len(run.evaluations) == 15
    assert run.last_checkpoint() == 2


def test_the_teachers_share_is_also_given_for_what_the_filter_kept(tmp_path):
    """Trajectories in which the student acts end at once, and are not resolved."""
    training, run = loop(tmp_path / "run", mixture={"floor": 0, "decay": 0.5}, data={"filter": "resolved"})
    row = training.run()["iterations"][1]
    turns = [
        (turn.actor == "teacher", one.verdict.resolved)
        for one in run.trajectories.read(run.trajectories.ids_of("i002"))
        for turn in one.turns
    ]
    assert row["realised_beta"] == sum(is_teacher for is_teacher, _ in turns) / len(turns)
    kept = [is_teacher for is_teacher, is_resolved in turns if is_resolved]
    assert row["realised_beta_kept"] == sum(kept) / len(kept) > row["realised_beta"]


def test_data_are_taught_in_the_order_of_plans_and_aggregate_takes_all_iterations(tmp_path):
    student = MemorisingStudent()
    loop(tmp_path / "fresh", student=student)[0].run()
    for number, fit in enumerate(student.fits, 1):
        assert [name for name, _ in fit] == sorted(name for name, _ in fit)
        assert {name[:4] for name, _ in fit} == {f"i00{number}"}
    student = MemorisingStudent()
    loop(tmp_path / "all", student=student, data={"dataset": "aggregate", "filter": "all"})[0].run()
    assert {name[:4] for name, _ in student.fits[1]} == {"i001", "i002"}


def test_a_finished_run_does_nothing_more(tmp_path):
    training, run = loop(tmp_path / "run")
    training.run()
    run.close()
    before = (tmp_path / "run" / "trajectories.jsonl").read_bytes()
    student = MemorisingStudent()
    again, _ = loop(tmp_path / "run", student=student, is_resumed=True)
    again.run()
    assert student.fits == []
    assert (tmp_path / "run" / "trajectories.jsonl").read_bytes() == before


def stopped_after_two_iterations(path):
    training, run = loop(path, iterations=2)
    training.run()
    run.close()
    return run


@pytest.mark.parametrize("deleted", [(), (1,), (2,), (1, 2)])
def test_whichever_checkpoints_are_deleted_a_resumed_run_learns_what_it_would_have(tmp_path, deleted):
    """A gap below the highest is no reason to train again; what stood above it is trained again from what is stored."""
    run = stopped_after_two_iterations(tmp_path / "run")
    for iteration in deleted:
        shutil.rmtree(run.checkpoint(iteration))
    student = MemorisingStudent()
    again, run = loop(tmp_path / "run", student=student, is_resumed=True, iterations=3)
    learned = []
    student.learn = lambda transitions, **_: (
        learned.append({each.trajectory_id[:4] for each in transitions}),
        Learned(transitions=len(transitions)),
    )[1]
    again.run()
    last = 2 if 2 not in deleted else 1 if 1 not in deleted else 0
    assert learned == [{f"i{iteration:03d}"} for iteration in range(last + 1, 4)]
    assert run.last_checkpoint() == 3


def test_a_run_that_lost_what_it_is_to_learn_is_refused_by_name(tmp_path):
    run = stopped_after_two_iterations(tmp_path / "run")
    shutil.rmtree(run.checkpoint(2))
    log = tmp_path / "run" / "trajectories.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:13]))
    again, _ = loop(tmp_path / "run", is_resumed=True, iterations=3)
    with pytest.raises(
        UserError, match=r"trajectories.jsonl holds 5 of the 8 trajectories of iteration 2, of which"
    ):
        again.run()


def test_a_run_that_lost_its_scores_is_refused_where_it_has_learned_from_them_before(tmp_path):
    training, run = loop(tmp_path / "run", scorer=CountingScorer(), student=ScoredStudent())
    training.run()
    run.close()
    shutil.rmtree(run.checkpoint(2))
    (tmp_path / "run" / "scores.jsonl").unlink()
    again, _ = loop(tmp_path / "run", scorer=CountingScorer(), student=ScoredStudent(), is_resumed=True)
    with pytest.raises(
        UserError, match=r"scores.jsonl lacks 8 trajectories of iteration 2, .* score otherwise now"
    ):
        again.run()


def test_checkpoints_are_pruned_as_the_run_goes_on(tmp_path):
    _, run = (made := loop(tmp_path / "run", iterations=3, checkpoints={"keep": 1}))
    made[0].run()
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["iteration-003"]
    assert run.last_checkpoint() == 3


def test_an_outage_stops_the_run_and_a_resumed_one_tries_those_trajectories_again(tmp_path):
    def unreachable(episode, state):
        raise TeacherError("no route")

    training, run = loop(tmp_path / "run", teacher=unreachable)
    with pytest.raises(InfrastructureError, match=r"8 of 8 trajectories failed .* no route"):
        training.run()
    assert len(run.trajectories) == 0
    run.close()
    summary = loop(tmp_path / "run", is_resumed=True)[0].run()
    assert summary["iterations"][0]["infra_errors"] == 0


def test_few_infra_errors_are_stored_counted_and_not_taught(tmp_path):
    def sometimes_unreachable(episode, state):
        if episode.trajectory_id.endswith("3"):
            raise TeacherError("no route")
        return teach(episode, state)

    student = MemorisingStudent()
    training, run = loop(tmp_path / "run", teacher=sometimes_unreachable, student=student)
    summary = training.run()
    first = summary["iterations"][0]
    assert (first["rollouts"], first["infra_errors"], first["resolved"], first["kept"]) == (8, 1, 7, 7)
    assert "i001-00003" in run.trajectories
    assert "i001-00003" not in {name for name, _ in student.fits[0]}


class CountingScorer:
    """Gives each target token its id as its log-probability; fails after `limit` trajectories."""

    def __init__(self, limit=10**6):
        self.limit = limit
        self.scored = []

    @property
    def usage(self):
        return Usage(requests=len(self.scored), input_tokens=10 * len(self.scored))

    def score(self, requests, keep):
        for request in requests:
            if len(self.scored) == self.limit:
                raise TeacherError("gone")
            self.scored.append(request.trajectory_id)
            keep(
                request.trajectory_id, [[float(token) for token in path.target_ids] for path in request.paths]
            )


class ScoredStudent(MemorisingStudent):
    def learn(self, transitions, *, generator, on_step):
        for each in transitions:
            assert each.reference_logprobs == (float(len(each.state.messages)), 99.0)
        return super().learn(transitions, generator=generator, on_step=on_step)


def test_the_teachers_scores_are_stored_before_they_are_used_and_asked_for_once(tmp_path):
    dying, student = CountingScorer(limit=3), ScoredStudent()
    training, run = loop(tmp_path / "run", scorer=dying, student=student)
    with pytest.raises(TeacherError):
        training.run()
    assert (len(run.scores), student.fits) == (3, [])
    run.close()
    resumed = CountingScorer()
    again, run = loop(tmp_path / "run", scorer=resumed, student=student, is_resumed=True)
    summary = again.run()
    asked = [row["scoring_usage"]["teacher"] for row in summary["iterations"]]
    assert sum(each["requests"] for each in asked) == len(run.trajectories)
    assert sum(each["input_tokens"] for each in asked) == 10 * len(run.trajectories)
    assert sorted(dying.scored + resumed.scored) == sorted(run.trajectories.ids)
    assert len(student.fits) == 2


class FlooringScorer(CountingScorer):
    """Has no log-probability of the first `number` tokens of each target of the trajectories `of`."""

    def __init__(self, number, of):
        super().__init__()
        self.number, self.of = number, of

    def score(self, requests, keep):
        def floored(trajectory_id, scores):
            if self.of is None or trajectory_id in self.of:
                scores = [[*[None] * self.number, *path[self.number :]] for path in scores]
            keep(trajectory_id, scores)

        super().score(requests, floored)


class WeighingStudent(MemorisingStudent):
    def learn(self, transitions, *, generator, on_step):
        self.fits.append({each.trajectory_id: (each.weight, each.reference_logprobs) for each in transitions})
        return Learned(transitions=len(transitions))


def test_tokens_without_a_log_probability_are_left_out_counted_and_their_trajectory_is_named(tmp_path):
    student = WeighingStudent()
    scorer = FlooringScorer(1, {"i001-00002"})
    training, run = loop(tmp_path / "run", scorer=scorer, student=student, iterations=1)
    summary = training.run()
    weight, references = student.fits[0]["i001-00002"]
    assert (weight, references) == ((0.0, 1.0), (0.0, 99.0))
    assert student.fits[0]["i001-00001"][0] == 1.0
    missing = summary["iterations"][0]["logprobs_missing"]
    assert list(missing) == ["i001-00002"]
    figures = run.stage_metrics("train", 1)
    told = stage_text("train", 1, {**figures, "first_epoch_loss": 1.0, "loss": 1.0}, None)
    assert f"{missing['i001-00002']} tokens left out for want of a log-probability (i001-00002)" in told


def test_a_teacher_without_numbers_stops_the_run_and_is_asked_again_by_a_resumed_one(tmp_path):
    training, run = loop(tmp_path / "run", scorer=FlooringScorer(2, None), student=WeighingStudent())
    with pytest.raises(
        TeacherError, match=r"for most tokens of 8 of 8 trajectories, such as i001-00000: .*dtype"
    ):
        training.run()
    assert (len(run.scores), run.last_checkpoint()) == (0, 0)
    run.close()
    loop(tmp_path / "run", scorer=CountingScorer(), student=WeighingStudent(), is_resumed=True)[0].run()


class OverflowingStudent(MemorisingStudent):
    """Its second fit comes to a number that is not finite."""

    def learn(self, transitions, *, generator, on_step):
        if self.fits:
            raise TrainingError("step 3 of 9: the loss is nan")
        return super().learn(transitions, generator=generator, on_step=on_step)


def test_numbers_that_are_not_finite_are_told_with_iteration_and_last_good_checkpoint(tmp_path):
    training, run = loop(tmp_path / "run", student=OverflowingStudent())
    with pytest.raises(
        TrainingError, match=r"iteration 2, step 3 of 9: the loss is nan; the last good .*iteration-001, from"
    ):
        training.run()
    assert (run.stage_metrics("train", 2), run.last_checkpoint()) == (None, 1)


class SamplingStudent(MemorisingStudent):
    """Reaches the goal in half of its rollouts, and knows the tokens of what it did. It dies when told to."""

    def __init__(self, dies_at=None):
        super().__init__()
        self.dies_at = dies_at

    def policy(self, *, greedy):
        def script(episode, state):
            if episode.trajectory_id == self.dies_at:
                raise KeyboardInterrupt
            action = teach(episode, state) if episode.seed % 2 else call_action("finish")
            return replace(action, token_ids=(7, 8), logprobs=(-0.5, -0.25))

        return ScriptedPolicy("student", script)

    def learn(self, transitions, *, generator, on_step):
        self.fits.append([(each.trajectory_id, each.weight, each.reference_logprobs) for each in transitions])
        return Learned(transitions=len(transitions))


def test_groups_of_rollouts_survive_a_stop_in_their_midst(tmp_path):
    grpo = {"method": "grpo", "rollouts": {"tasks_per_iteration": 4, "samples_per_task": 4, "concurrency": 1}}
    whole, stopped = SamplingStudent(), SamplingStudent(dies_at="i001-00009")
    expected = loop(tmp_path / "whole", student=whole, **grpo)[0].run()
    training, run = loop(tmp_path / "run", student=stopped, **grpo)
    with pytest.raises(KeyboardInterrupt):
        training.run()
    assert 0 < len(run.trajectories) < 16
    run.close()
    resumed = SamplingStudent()
    summary = loop(tmp_path / "run", student=resumed, is_resumed=True, **grpo)[0].run()
    assert resumed.fits == whole.fits
    weights = {weight for fit in whole.fits for _, weight, _ in fit}
    assert min(weights) < 0 < max(weights)
    first = summary["iterations"][0]["objective"]
    assert first == expected["iterations"][0]["objective"]
    assert first["groups"] == 4


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({"method": "grpo"}, 0),
        ({"method": "dagger", "mixture": {"kind": "student"}}, 2),
        ({"method": "aggrevate"}, 2),
    ],
    ids=["neither acts nor labels", "labels alone", "acts"],
)
def test_a_teacher_is_opened_where_it_acts_or_labels(tmp_path, changes, times):
    opened = []
    loop(tmp_path / "run", opened=opened, student=SamplingStudent(), **changes)[0].run()
    assert len(opened) == times


def test_the_summary_tells_what_method_and_objective_report(tmp_path):
    summary = loop(tmp_path / "run")[0].run()
    reported = {"targets_malformed": 0, "targets_unwritable": 0, "targets_missing": 0, "mean_weight": 1.0}
    assert summary["iterations"][0]["objective"] == reported


def wandering(episode, state):
    """Half of what this teacher says nobody should learn."""
    reached = sum(message.role == "assistant" for message in state.messages)
    return call_action("browse", url="x") if reached % 2 == 0 and reached < 4 else teach(episode, state)


def test_what_is_not_taught_is_counted_by_its_reason_and_an_example_of_each_is_kept(tmp_path):
    training, run = loop(tmp_path / "run", teacher=wandering, iterations=1)
    row = training.run()["iterations"][0]
    unknown = row["untaught"]["unknown_tool"]
    assert unknown > 0
    assert (row["objective"]["targets_malformed"], row["objective"]["targets_unwritable"]) == (unknown, 0)
    examples = json.loads((run.path / "untaught.json").read_text())
    (example,) = examples.values()
    assert (example["iteration"], example["turn"], "browse" in example["target"]) == (1, 0, True)
    assert "there is no tool 'browse'" in example["detail"]
    assert any(
        "unknown tool" in text for text in run_warnings(json.loads((run.path / "summary.json").read_text()))
    )


def test_a_run_that_leaves_nothing_out_has_no_examples_and_warns_of_nothing(tmp_path):
    training, run = loop(tmp_path / "run")
    assert run_warnings(training.run()) == []
    assert not (run.path / "untaught.json").exists()


def test_what_the_student_cannot_write_is_no_label(tmp_path):
    class Mute(MemorisingStudent):
        def learn(self, transitions, *, generator, on_step):
            objection = Objection(reason="stop_token_inside", detail="token 3 of 9 ends a turn")
            left_out = [
                Untaught(objection=objection, target=each.target, trajectory_id=each.trajectory_id, turn=0)
                for each in transitions
            ]
            return Learned(transitions=len(transitions), untaught=tuple(left_out))

    training, _ = loop(tmp_path / "run", student=Mute(), iterations=1)
    row = training.run()["iterations"][0]
    assert row["labels"] == 0
    assert row["objective"]["targets_unwritable"] == row["untaught"]["stop_token_inside"] > 0
    nothing, share = run_warnings({"iterations": [row]})
    assert "0 labels, so nothing was learned" in nothing
    assert "(100 %) are not taught: stop token inside" in share


def test_evaluation_is_as_rare_as_asked_but_never_left_out_at_the_end(tmp_path):
    evaluation = {"tasks": 2, "every": 2, "base": False}
    summary = loop(tmp_path / "run", evaluation=evaluation, iterations=3)[0].run()
    assert summary["base"] is None
    assert [row["eval"] is not None for row in summary["iterations"]] == [False, True, True]


def test_no_task_comes_again_before_all_have_come():
    drawn = [
        task
        for iteration in range(1, 6)
        for task in sampled_tasks(range(10), iteration=iteration, number=4, seed=1)
    ]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert drawn[:10] != drawn[10:]
    assert sampled_tasks(range(10), iteration=1, number=4, seed=2) != drawn[:4]
