"""The golden loss curves: nano-student, 20 optimiser steps of each objective, in float32.

In: `golden/trajectories.jsonl.gz`, recorded rollouts of nano-student with an oracle (β 0.2, two of each task,
cut after six turns). Out: for each objective the loss of every step and the L2 norm of all weights behind the last. A
refactor leaves them equal; where a mended fault moves them, `python tests/golden_curve.py` writes them anew and the
commit says why.
"""

import gzip
import json
import math
import random
from dataclasses import replace
from pathlib import Path

import torch

from turnmix.core.trajectory import Trajectory
from turnmix.methods.registry import METHODS
from turnmix.nano import CHECKPOINT, TEACHER
from turnmix.policies.local.loading import load_model
from turnmix.policies.scoring import ScoreRequest, TokenPath
from turnmix.rendering.renderer import Renderer
from turnmix.training.learner import Learner
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.objective import Objective
from turnmix.training.tree_scorer import TreeScorer

FOLDER = Path(__file__).parent / "golden"
CURVES = FOLDER / "curves.json"
STEPS = 20
BATCH = 2

CASES = {
    "sft": ("sft", {}),
    "dagger": ("dagger", {}),
    "dagger_kl": ("dagger", {"kl_weight": 0.1}),
    "oec": ("oec", {}),
    "grpo": ("grpo", {"kl_weight": 0.01}),
    "opd_sampled": ("opd", {}),
    "opd_top_k": ("opd", {"estimate": "top_k", "top_k": 8}),
    "opd_full": ("opd", {"estimate": "full"}),
}
"""Method and options of its objective, by the curve's name."""


def recorded():
    with gzip.open(FOLDER / "trajectories.jsonl.gz", "rt", encoding="utf-8") as file:
        return [Trajectory.from_json(json.loads(line)) for line in file]


def golden_curve(name):
    """The losses of the first 20 steps, and the norm of the weights behind them."""
    method_name, options = CASES[name]
    method = METHODS[method_name]
    settings = type(method.objective)(**options)
    student, tokenizer = load_model(CHECKPOINT)
    teacher, _ = load_model(TEACHER)
    base, _ = load_model(CHECKPOINT)
    renderer = Renderer(tokenizer)
    transitions = method.transitions(recorded(), settings).transitions
    if settings.needs_scores:
        transitions = _scored(transitions, teacher, renderer, vocabulary=len(tokenizer))
    groups = len({each.trajectory_id for each in transitions})
    epochs = math.ceil(STEPS / (groups // BATCH))
    learner = Learner(
        student,
        renderer,
        LearnerSettings(learning_rate=3e-4, batch_size=BATCH, epochs=epochs),
        objective=Objective(
            settings,
            teacher=teacher if settings.runs_teacher else None,
            base=base if settings.kl_weight else None,
            vocabulary=len(tokenizer),
        ),
    )
    losses = []
    norms = []

    def on_step(report):
        losses.append(report.loss)
        norms.append(sum(weight.double().square().sum().item() for weight in student.parameters()) ** 0.5)

    learner.fit(transitions, generator=random.Random(0), on_step=on_step)
    return {"losses": losses[:STEPS], "weight_norm": norms[STEPS - 1]}


def _scored(transitions, teacher, renderer, *, vocabulary):
    """The transitions with the teacher's log-probabilities of their targets."""
    scores = {}
    scorer = TreeScorer(teacher, vocabulary=vocabulary, tokens_per_pass=8192)
    for index, each in enumerate(transitions):
        path = TokenPath(
            prompt_ids=tuple(renderer.prompt_ids(each.state)),
            target_ids=tuple(renderer.target_ids(each.state, each.target)),
        )
        request = ScoreRequest(trajectory_id=str(index), paths=[path])
        scorer.score([request], lambda key, logprobs: scores.update({key: logprobs[0]}))
    return [
        replace(each, reference_logprobs=tuple(scores[str(index)])) for index, each in enumerate(transitions)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    CURVES.write_text(
        json.dumps({name: golden_curve(name) for name in CASES}, indent=1) + "\n", encoding="ascii"
    )
