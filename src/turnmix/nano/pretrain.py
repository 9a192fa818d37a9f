"""Make the nano student's base checkpoint from nothing: experience, tokenizer, then three lessons.

    python -m turnmix.nano.pretrain --output DIR
    python -m turnmix.nano.pretrain babyai tasks.levels=BabyAI-UnlockPickup-v0 --output DIR

First it learns to copy, on random tokens; then to write lines as they should be, on functions that are not what
their docstrings say; then to act, on the experience: every token of it, the agent's own more than what it observes,
and so the format. Which action is a good one it sees only as often as the wanderer happens on it.

With a recipe: a student for its text world, made from random walks alone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from turnmix.core.errors import TurnMixError
from turnmix.core.terminal import tell
from turnmix.nano.experience import collect_experience, experience_source
from turnmix.nano.learning import read_experience, train, train_tokenizer
from turnmix.nano.lessons import copying_lessons, experience_lessons, make_example, rewriting_lessons
from turnmix.nano.model import make_model
from turnmix.nano.phrases import make_phrases
from turnmix.nano.world_student import make_world_student
from turnmix.recipe.recipe import load_recipe


def main() -> int:
    import torch

    arguments = _arguments()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    experience = arguments.experience or arguments.output / "experience.jsonl"
    try:
        if arguments.recipe:
            _make_for_world(arguments, experience)
        else:
            _make_for_minirepo(arguments, experience)
    except TurnMixError as error:
        tell(f"error: {error}")
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m turnmix.nano.pretrain", description=__doc__)
    parser.add_argument(
        "recipe",
        nargs="*",
        metavar="RECIPE | key=value",
        help="a text world's, and changes to it (none: the student of minirepo)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument(
        "--experience", type=Path, help="trajectories to use again; made when it does not exist"
    )
    parser.add_argument("--trajectories", type=int, help="how many (2400; of a world 500)")
    parser.add_argument("--turns", type=int, default=40, help="of a random walk through a world, at most")
    parser.add_argument(
        "--teacher-share",
        type=float,
        default=0.8,
        help="largest share of the oracle's turns; of a world none",
    )
    parser.add_argument("--copying-tokens", type=int, default=1_600_000, help="how long to learn copying")
    parser.add_argument(
        "--rewriting-tokens",
        type=int,
        default=3_000_000,
        help="how long to learn rewriting, which no world has",
    )
    parser.add_argument("--tokens", type=int, default=1_000_000, help="how long to learn from experience")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def _make_for_world(arguments: argparse.Namespace, experience: Path) -> None:
    name, *overrides = arguments.recipe
    make_world_student(
        load_recipe(name, overrides),
        arguments.output,
        walks=experience,
        num_walks=arguments.trajectories or 500,
        turns=arguments.turns,
        copying_tokens=arguments.copying_tokens,
        tokens=arguments.tokens,
        seed=arguments.seed,
    )


def _make_for_minirepo(arguments: argparse.Namespace, experience: Path) -> None:
    num_trajectories = arguments.trajectories or 2400
    if not experience.exists():
        collect_experience(
            experience,
            num_trajectories=num_trajectories,
            teacher_share=arguments.teacher_share,
            seed=arguments.seed,
        )
    trajectories = read_experience(experience)
    tokenizer = train_tokenizer(trajectories, phrases=make_phrases)
    model = make_model(tokenizer, seed=arguments.seed)
    copying = copying_lessons(len(tokenizer), arguments.seed)
    train(model, copying, num_tokens=arguments.copying_tokens, name="copying")
    source = experience_source(num_trajectories, seed=arguments.seed)
    tasks, tools = source.tasks("train"), trajectories[0].tools
    rewriting = rewriting_lessons(tokenizer, tasks, source.solution, tools, arguments.seed)
    train(model, rewriting, num_tokens=arguments.rewriting_tokens, name="rewriting")
    states = [trajectory.state(len(trajectory.turns)) for trajectory in trajectories]
    examples = [make_example(tokenizer, state.messages, state.tools) for state in states]
    acting = experience_lessons(examples, arguments.seed)
    train(model, acting, num_tokens=arguments.tokens, name="acting")
    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)


if __name__ == "__main__":
    sys.exit(main())
