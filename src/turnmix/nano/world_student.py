"""Make a nano student for a text world: random walks, a tokenizer, then two lessons.

First it learns to copy, on random tokens; then to write the calls of random walkers, and what follows them. No planner
is asked: which act is a good one it sees only as often as a walker happens on it.
"""

from __future__ import annotations

from pathlib import Path

from turnmix.core.errors import UserError
from turnmix.core.event_loop import run_coroutine
from turnmix.core.json_text import json_text
from turnmix.core.trajectory import Trajectory
from turnmix.environments.environment import TaskParts
from turnmix.environments.worlds.source import WorldSettings
from turnmix.nano.learning import read_experience, train, train_tokenizer
from turnmix.nano.lessons import copying_lessons, experience_lessons, make_example
from turnmix.nano.model import PROSE_SPLIT, make_model
from turnmix.nano.phrases import world_phrases
from turnmix.nano.random_walker import make_random_walker
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.recipe.recipe import Recipe
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import TeacherMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest
from turnmix.sandboxes.selection import BubblewrapSettings

TASK_SEED = 1_000_003
"""Its tasks are none of a recipe's, whose seeds are smaller."""
CONCURRENCY = 8


def make_world_student(
    recipe: Recipe,
    output: Path,
    *,
    walks: Path,
    num_walks: int,
    turns: int,
    copying_tokens: int,
    tokens: int,
    seed: int,
) -> None:
    """Write the student's checkpoint to `output`. `walks`: made when there is no such file; `turns`: the longest.

    Raises:
        UserError: the recipe's tasks are none of a text world.
    """
    if not walks.exists():
        collect_walks(recipe, walks, num_walks=num_walks, turns=turns, seed=seed)
    trajectories = read_experience(walks)
    tokenizer = train_tokenizer(trajectories, phrases=world_phrases, split=PROSE_SPLIT)
    model = make_model(tokenizer, seed=seed)
    train(model, copying_lessons(len(tokenizer), seed), num_tokens=copying_tokens, name="copying")
    states = [trajectory.state(len(trajectory.turns)) for trajectory in trajectories]
    examples = [make_example(tokenizer, state.messages, state.tools) for state in states]
    train(model, experience_lessons(examples, seed), num_tokens=tokens, name="walking")
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


def collect_walks(recipe: Recipe, path: Path, *, num_walks: int, turns: int, seed: int) -> None:
    """Write `num_walks` random walks to `path`, one JSON object a line, as they end. Raises UserError, as above."""
    settings = recipe.tasks
    if not isinstance(settings, WorldSettings):
        raise UserError(
            f"tasks.source: {settings.source!r}: random walks need a text world, whose environment says what can be "
            "done: name a recipe of one, such as babyai"
        )
    settings = settings.model_copy(update={"train": num_walks, "seed": TASK_SEED + seed, "max_turns": turns})
    source = settings.make(
        TaskParts(make_sandbox=BubblewrapSettings().make, scaffold=recipe.scaffold, seed=seed)
    )
    plans = make_plans(source.tasks("train"), iteration=1, seed=seed, cohort_size=1, beta=1.0)
    with path.open("w") as file:

        def write(trajectory: Trajectory) -> None:
            file.write(json_text(trajectory.to_json()) + "\n")

        run_coroutine(
            collect(
                RolloutRequest(
                    plans=plans,
                    source=source,
                    student=ScriptedPolicy.of_actions("nobody", [text_action("")]),
                    teacher=make_random_walker(seed),
                    mixture=TeacherMixture(),
                    label=False,
                    concurrency=CONCURRENCY,
                    on_trajectory=write,
                )
            )
        )
