"""On-policy distillation: the student's own tokens, each judged by the teacher (paper Eq. 21, 22).

Per token, not per turn: a token is judged by the teacher's log π of it alone, and gets no credit for what comes after.
On-policy is the first optimiser step of an iteration alone; the others learn from tokens that a slightly older student
sampled. What that means for each estimate: `turnmix.training.objective`.
"""

from __future__ import annotations

from collections.abc import Sequence

from turnmix.core.trajectory import Trajectory
from turnmix.core.transition import weighed_by_ratio
from turnmix.methods.method import Method, Taught
from turnmix.methods.objective_settings import ObjectiveSettings
from turnmix.methods.targets import sampled_turns
from turnmix.rollout.mixture import MixtureSettings


def _transitions(trajectories: Sequence[Trajectory], objective: ObjectiveSettings) -> Taught:
    sampled = [each for trajectory in trajectories for each in sampled_turns(trajectory)]
    if objective.ratio:
        sampled = [
            each if each.target.logprobs is None else weighed_by_ratio(each, each.target.logprobs)
            for each in sampled
        ]
    return Taught(transitions=sampled)


OPD = Method(
    name="opd",
    title="OPD",
    mixture=lambda: MixtureSettings(kind="student"),
    mixtures=("student",),
    filter="submitted",
    doubtful_filters={
        name: "opd then learns in none of the states that lead to another end, though the student visits them too; "
        "data.filter=all keeps them"
        for name in ("submitted", "resolved")
    },
    label=False,
    objective="reverse_kl",
    transitions=_transitions,
    acts="the student on every turn; submitted trajectories are kept",
    taught="the executed action",
    weight="log π_teacher − log π_student per token",
)
