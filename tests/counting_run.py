"""A run in the counting world, written in a moment: mixed rollouts with labels, and an evaluation."""

import asyncio
from contextlib import closing

from turnmix.core.message import Message
from turnmix.core.trajectory import Action
from turnmix.environments.counting import CountingSource
from turnmix.policies.scripted import ScriptedPolicy, call_action, turn_number
from turnmix.recipe.recipe import load_recipe, recipe_yaml
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import AggrevateMixture, StudentMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.store.run_directory import RunDirectory

UNREADABLE = Action(
    message=Message(role="assistant", content='<tool_call>\n{"name": "add", '), parse_error="it is cut short"
)


def stumble(episode, state):
    """A student that overshoots, and whose second answer cannot be read."""
    return UNREADABLE if turn_number(state) == 1 else call_action("add", amount=3)


def correct(episode, state):
    """A student that finishes late."""
    return call_action("finish") if turn_number(state) == 3 else call_action("add", amount=1)


def counting_run(path, *, num_tasks=4, student_is_readable=False):
    """A finished iteration of rollouts with labels, two turns by the student and then its teacher's, and an accident
    among them; an evaluation."""
    source = CountingSource()
    student, teacher = ScriptedPolicy("student", correct if student_is_readable else stumble), source.expert()

    def rolled_out(split, **options):
        tasks = source.tasks(split)[:num_tasks]
        plans = make_plans(tasks, iteration=1, seed=0, cohort_size=4, beta=None, **options)
        return plans, {"source": source, "student": student, "concurrency": 4}

    recipe = load_recipe("minirepo_dagger", ["iterations=1", "seed=7"])
    with closing(RunDirectory.create(path, recipe_yaml=recipe_yaml(recipe))) as run:
        plans, options = rolled_out("train")
        mixture = AggrevateMixture(support=(2, 2))
        accidents = Accidents(policy=source.accident("breaking"), turns=(3, 3), seed=0)
        for each in asyncio.run(
            collect(
                RolloutRequest(
                    plans=plans, teacher=teacher, mixture=mixture, label=True, accidents=accidents, **options
                )
            )
        ):
            run.trajectories.append(each)
        plans, options = rolled_out("holdout", prefix="e")
        for each in asyncio.run(
            collect(
                RolloutRequest(plans=plans, teacher=None, mixture=StudentMixture(), label=False, **options)
            )
        ):
            run.evaluations.append(each)
        run.record_stage("rollout", 1, {"rollouts": num_tasks})
    return path
