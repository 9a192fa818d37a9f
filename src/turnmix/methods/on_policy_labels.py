"""On-policy labels: the student acts alone, and learns the teacher's answer in every state that it visits.

It is DAgger with β = 0 throughout, and SOPD (2608.16333) as far as TurnMix knows it: its text was not at hand. So the
filter is TurnMix's choice: a label is right however the trajectory then ended.
"""

from __future__ import annotations

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_labels
from turnmix.rollout.mixture import StudentMixtureSettings

ON_POLICY_LABELS = Method(
    name="on_policy_labels",
    title="On-policy labels",
    mixture=StudentMixtureSettings(),
    filter="all",
    label=True,
    transitions=teach_labels,
    acts="the student on every turn; all trajectories are kept",
    taught="the teacher's action in every visited state",
    weight="1",
)
