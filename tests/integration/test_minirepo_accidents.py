"""Accidents in real sandboxes: what they do, that they are undone, and what the trajectories tell of them."""

import asyncio
from collections import Counter

import pytest

from turnmix.environments.minirepo.accidents import ACCIDENTS
from turnmix.environments.minirepo.source import MinirepoSettings, MinirepoSource
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.rollout.accidents import Accidents
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

NOBODY = ScriptedPolicy.of_actions("nobody", [text_action("")])


def source_of(**settings):
    return MinirepoSource(
        MinirepoSettings(**settings),
        make_sandbox=BubblewrapSettings().make,
        scaffold=ScaffoldSettings(max_turns=40),
    )


def collected(source, *, num_tasks, kind="breaking", turns=(4, 8), mixture=None, **more):
    accidents = None if kind is None else Accidents(policy=source.accident(kind), turns=turns, seed=0)
    plans = make_plans(source.tasks("holdout")[:num_tasks], iteration=1, seed=0, cohort_size=4, beta=None)

    async def run():
        expert = source.expert()
        try:
            options = {"student": NOBODY, "label": True, **more}
            return await collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    teacher=expert,
                    mixture=mixture or TeacherMixture(),
                    concurrency=8,
                    accidents=accidents,
                    **options,
                )
            )
        finally:
            await expert.close()

    return asyncio.run(run())


def accident_of(trajectory):
    """The index of its accident's turn; None: it has none."""
    found = [index for index, turn in enumerate(trajectory.turns) if turn.actor == "accident"]
    assert len(found) <= 1
    return found[0] if found else None


def commands_after(trajectory):
    """What was done after its accident; of a checkout, not of which file."""
    done = trajectory.turns[accident_of(trajectory) + 1 :]
    commands = [str(turn.action.message.tool_calls[-1].arguments.get("command", "finish")) for turn in done]
    return tuple("git checkout" if each.startswith("git checkout") else each for each in commands)


@pytest.mark.parametrize("kind", ACCIDENTS)
def test_the_expert_resolves_every_task_after_an_accident(kind):
    source = source_of(holdout=30)
    trajectories = collected(source, num_tasks=30, kind=kind)
    assert [trajectory.verdict.resolved for trajectory in trajectories] == [True] * 30
    befell = [trajectory for trajectory in trajectories if accident_of(trajectory) is not None]
    assert len(befell) >= 25
    after = Counter(commands_after(trajectory)[:2] for trajectory in befell)
    assert after[("python3 run_tests.py", "git checkout")] >= 25
    told = [trajectory.turns[accident_of(trajectory) + 1].observation[0].content for trajectory in befell]
    assert all(text.startswith("ERROR ") == (kind == "breaking") for text in told)
