"""Learning as a test describes it, on every rank of a process group; rank 0 writes down what came out.

arguments: the directory to write to, and the one with checkpoints to resume from
"""

import random
import sys
from dataclasses import replace
from pathlib import Path

import torch
from transformers import Qwen3ForCausalLM

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))

from own_loss import Focal
from tiny_student import CharacterRenderer, batch, settings, tiny_model

from turnmix.core.errors import TrainingError
from turnmix.training.checkpoint import restore_learner, save_checkpoint
from turnmix.training.forest import grow_forest
from turnmix.training.learner import Learner
from turnmix.training.objective import Objective
from turnmix.training.ranks import Ranks

WAYS = {
    "full": {},
    "uneven": {"batch_size": 3, "tokens_per_pass": 150},
    "recomputing": {"gradient_checkpointing": True},
    "lora": {"lora": {"rank": 4}},
    "recomputing_lora": {"lora": {"rank": 4}, "gradient_checkpointing": True},
    "acting_elsewhere": {"acts_elsewhere": True},
    "own_loss": {"objective": Focal(average="trajectory"), "tokens_per_pass": 150},
    "bfloat16": {"dtype": "bfloat16"},
}
CHECKPOINTS = ("full", "lora")


class NoTokenizer:
    """The character renderer needs none."""

    def save_pretrained(self, directory):
        pass


def learner_of(ranks, model=None, **changes):
    changes = {"epochs": 1, **changes}
    objective = changes.pop("objective", None)
    elsewhere = changes.pop("acts_elsewhere", False)
    return Learner(
        model or tiny_model(),
        CharacterRenderer(),
        settings(**changes),
        objective=Objective(objective),
        ranks=ranks,
        acts_elsewhere=elsewhere,
    )


def lead(ranks, learner, action):
    """What `action` gives on rank 0, while the others follow."""
    if not ranks.is_first:
        return learner.follow()
    result = action(learner)
    learner.close()
    return result


def three_steps(learner):
    """What fits leave: the gradient of the first step, as AdamW's moment, and the weights after three."""
    steps = []
    trajectories = learner.settings.batch_size
    report = learner.fit(batch(trajectories), generator=random.Random(0), on_step=steps.append)
    moments = {
        name: state["exp_avg"].clone() for name, state in learner.state_dict()["optimizer"]["state"].items()
    }
    learner.fit(batch(2 * trajectories, seed=1), generator=random.Random(1))
    return {
        "moments": moments,
        "weights": learner.acting_model.state_dict(),
        "loss": report.first_epoch_loss,
        "norm": steps[0].gradient_norm,
        "figures": dict(report.objective),
    }


def saving(directory):
    def learn_and_save(learner):
        learner.fit(batch(seed=1), generator=random.Random(1))
        save_checkpoint(directory, model=learner.acting_model, tokenizer=NoTokenizer(), learner=learner)

    return learn_and_save


def go_on(learner):
    learner.fit(batch(seed=2), generator=random.Random(2))
    return learner.acting_model.state_dict()


def overflowing(learner):
    """What a fit on one odd trajectory says that it stops for, and whether a weight moved."""
    before = {name: tensor.clone() for name, tensor in learner.acting_model.state_dict().items()}
    odd = [replace(item, weight=float("inf")) if item.trajectory_id == "3" else item for item in batch(5)]
    try:
        learner.fit(odd, generator=random.Random(0))
    except TrainingError as error:
        after = learner.acting_model.state_dict()
        return str(error), all(torch.equal(after[name], tensor) for name, tensor in before.items())


def resumed(ranks, checkpoint, name):
    """A learner that stands where the checkpoint's stood."""
    model = tiny_model()
    if name == "full":
        model = Qwen3ForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    learner = learner_of(ranks, model, **WAYS[name])
    restore_learner(checkpoint, learner)
    return learner


class CountingRenderer(CharacterRenderer):
    """Counts the prompts that it renders."""

    def __init__(self):
        self.prompts = 0

    def prompt_ids(self, state):
        self.prompts += 1
        return super().prompt_ids(state)


def forest_of(ranks):
    """What all ranks learn from, with the prompts that each of them rendered. Trajectories lie in each other, and some
    transitions are too long."""
    transitions = sorted(batch(5), key=lambda item: len(item.state.messages))
    renderer = CountingRenderer()
    forest = grow_forest(
        transitions, renderer, settings(), max_context=60, needs_reference_logprobs=False, ranks=ranks
    )
    trees = [(tree.token_ids.tolist(), tree.position_ids.tolist(), tree.num_labels) for tree in forest.trees]
    return ranks.gathered(renderer.prompts), forest.dropped_too_long, forest.untaught, trees


class FailingRenderer(CharacterRenderer):
    """Fails at once."""

    def prompt_ids(self, state):
        raise ValueError("no prompt")


def failing_renderer(ranks, *, of):
    """What each rank says where one of them renders nothing, and more trajectories are still to be told."""
    renderer = FailingRenderer() if ranks.index == of else CharacterRenderer()
    try:
        grow_forest(
            batch(40), renderer, settings(), max_context=60, needs_reference_logprobs=False, ranks=ranks
        )
    except ValueError as error:
        return ranks.gathered(str(error))


def main():
    output, earlier = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    ranks = Ranks.join("cpu")
    found = {way: lead(ranks, learner_of(ranks, **changes), three_steps) for way, changes in WAYS.items()}
    found["forest"] = forest_of(ranks)
    found["failing"] = [failing_renderer(ranks, of=each) for each in range(ranks.number)]
    found["overflowing"] = lead(ranks, learner_of(ranks, batch_size=5), overflowing)
    has_that_of_the_first = ranks.agreed(ranks.index) == 0
    found["agreed"] = ranks.sum(torch.tensor(int(has_that_of_the_first)))
    for name in CHECKPOINTS:
        learner = resumed(ranks, earlier / name, name)
        found[f"resumed {name}"] = lead(ranks, learner, go_on)
        lead(ranks, learner_of(ranks, **WAYS[name]), saving(output / name))
    if ranks.is_first:
        torch.save(found, output / "found.pt")
    ranks.leave()
