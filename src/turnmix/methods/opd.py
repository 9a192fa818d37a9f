"""On-policy distillation: the student's own tokens, each judged by the teacher (paper Eq. 21, 22).

Per token, not per turn: a token is judged by the teacher's log π of it alone, and gets no credit for what comes after.
On-policy is the first optimiser step of an iteration alone; the others learn from tokens that a slightly older student
sampled. What that means for each estimate: `turnmix.training.token_loss`.
"""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_sampled, unseen_ends
from turnmix.rollout.mixture import StudentMixtureSettings
from turnmix.training.objective_settings import ReverseKlSettings

OPD = Method(
    name="opd",
    title="OPD",
    mixture=StudentMixtureSettings(),
    filter="submitted",
    doubtful_filters=unseen_ends("opd"),
    label=False,
    objective=ReverseKlSettings(),
    transitions=teach_sampled,
    acts="the student on every turn; submitted trajectories are kept",
    taught="the executed action",
    weight="log π_teacher − log π_student per token",
)
