"""What the paper's run takes on two machines of eight GPUs of 80 GB, part by part: memory of a card, hours.

    python benchmarks/two_machines.py

Nothing is run: each figure is computed from the recipes `swe_gym_qwen3_*_dagger_2x8.yaml`, the models' shapes, and the
rates below, of which those that were measured say where. `docs/train-larger-students.md` has the table.
"""

from dataclasses import dataclass
from pathlib import Path

from turnmix.doctor.memory import ModelSize, largest_pass, learning_bytes
from turnmix.recipe.recipe import load_recipe

RECIPES = Path(__file__).parents[1] / "recipes"
CARD = 80e9
GB = 1e9

# Shapes, by the models' config.json.
STUDENTS = {
    "4b": ModelSize(parameters=4.02e9, hidden=2560, layers=36, vocabulary=151_936, cached=2048),
    "8b": ModelSize(parameters=8.19e9, hidden=4096, layers=36, vocabulary=151_936, cached=2048),
}
TEACHER = ModelSize(parameters=30.5e9, hidden=2048, layers=48, vocabulary=151_936, cached=1024)
TEACHER_CARDS = 4
"""Two replicas, each on two cards."""

# Measured: all weights, rank 0 of two, 32,293 rows with 6,000 labels, H100 (docs/train-larger-students.md).
SECONDS_OF_TREE = {"4b": 5.98}
SECONDS_OF_TREE["8b"] = SECONDS_OF_TREE["4b"] * STUDENTS["8b"].parameters / STUDENTS["4b"].parameters
"""Attention is dearer by the same heads and layers alone: this is an upper bound."""
ROWS, LABELS = 32_293, 6_000

# Assumed.
KEPT = 0.6
"""Of the trajectories, those that are submitted."""
COLLECTIVE = 150e9
"""Bytes a second that a card gathers from the seven others over NVLink."""
DISK = 1e9
"""Bytes a second, to and from the path that both machines share."""
JOB_SECONDS = 60.0
"""Until Ray Train has its processes, and each has loaded torch and the model."""
DECODED = 1500.0
"""Tokens a second that a server of the student writes for the conversations of one card; the teacher's replica too."""
TURN_SECONDS = 2.0
"""Of the container, in a turn."""
TURNS = 60


@dataclass(frozen=True)
class Estimate:
    """Bytes of a card, and seconds."""

    learner: float
    cache_of_student: float
    """Conversations of the recipe's longest context that one server's cache holds; below, one replica's."""
    cache_of_teacher: float
    rollout: float
    learning: float
    moving: float
    """Weights, from the last checkpoint and into the next, and to the servers."""

    @property
    def iteration(self) -> float:
        return self.rollout + self.learning + self.moving


def estimate(name):
    """Of the recipe of that student."""
    recipe, size = load_recipe(str(RECIPES / f"swe_gym_qwen3_{name}_dagger_2x8.yaml")), STUDENTS[name]
    learners, longest = recipe.cluster.learners, recipe.longest_context
    rows = largest_pass(recipe.learner, conversation=longest, has_labels=True)
    trajectories = recipe.rollouts.tasks_per_iteration
    trees = trajectories * KEPT * recipe.learner.epochs
    collected = size.parameters * (learners - 1) / learners * (2 + 2 + 2 + 4)
    state = size.parameters * (4 + 8)
    tokens = trajectories * LABELS
    writing = tokens / DECODED / min(recipe.cluster.servers, TEACHER_CARDS // 2)
    under_way = recipe.cluster.rollout_workers * recipe.rollouts.concurrency
    return Estimate(
        learner=learning_bytes(
            size,
            is_lora=False,
            tokens=rows,
            is_checkpointing=True,
            dtype="bfloat16",
            num_ranks=learners,
            acts_here=False,
        ),
        cache_of_student=_cached(size, cards=1, longest=longest),
        cache_of_teacher=_cached(TEACHER, cards=2, longest=longest),
        rollout=writing + trajectories * TURNS * TURN_SECONDS / under_way,
        learning=trees / learners * (SECONDS_OF_TREE[name] + collected / COLLECTIVE),
        moving=JOB_SECONDS + 2 * state / DISK + size.parameters * 4 / DISK,
    )


def _cached(size, *, cards, longest):
    room = 0.9 * CARD * cards - 2 * size.parameters
    return room / (2 * size.layers * size.cached) / longest


def table():
    """The lines of the docs."""
    lines = [
        "| | Qwen3-4B | Qwen3-8B |",
        "|---|---|---|",
    ]
    found = [estimate(name) for name in STUDENTS]
    for title, figure in (
        ("a learner's card, GB", lambda each: f"{each.learner / GB:.0f}"),
        ("longest conversations in a student's server", lambda each: f"{each.cache_of_student:.1f}"),
        ("longest conversations in a replica of the teacher", lambda each: f"{each.cache_of_teacher:.1f}"),
        ("rollouts of an iteration, minutes", lambda each: f"{each.rollout / 60:.0f}"),
        ("learning, minutes", lambda each: f"{each.learning / 60:.0f}"),
        ("weights to and fro, minutes", lambda each: f"{each.moving / 60:.0f}"),
        ("five iterations, hours", lambda each: f"{5 * each.iteration / 3600:.1f}"),
    ):
        lines.append(f"| {title} | {' | '.join(map(figure, found))} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
