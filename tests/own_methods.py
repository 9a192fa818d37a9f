"""A module of a user's own, written outside the tree: methods, a mixture, a loss, a filter and a tracker."""

import sys

NAME = "word_methods"
TEXT = '''\
"""Methods of a user's own, each one object."""

from pathlib import Path

from turnmix.methods.method import Method
from turnmix.methods.teaching import teach_labels, teach_sampled
from turnmix.rollout.mixture import DaggerMixtureSettings, MixtureSettings, StudentMixtureSettings
from turnmix.training.objective_settings import ObjectiveSettings, ReverseKlSettings


class Focal(ObjectiveSettings):
    """Cross-entropy in which what the student says already counts less."""

    gamma: float = 2.0
    """How much less."""

    @property
    def figures(self):
        return ("confidence",)

    def make(self, parts):
        def loss(tokens):
            logprobs = tokens.logprobs()
            confidence = logprobs.exp()
            return -tokens.weights_C * (1 - confidence) ** self.gamma * logprobs, confidence

        return loss


class Rescued(MixtureSettings):
    """The student, and the teacher where a conversation has become long."""

    longest: int = 6
    """Messages that the student may see."""

    def make(self):
        return RescuedMixture(self.longest)


class RescuedMixture:
    def __init__(self, longest):
        self.longest = longest

    def beta(self, iteration):
        return None

    def actors(self, iteration, generator):
        return lambda turn, state: "student" if len(state.messages) <= self.longest else "teacher"


def is_short(trajectory):
    if Path("stop").exists() and trajectory.iteration == 2:
        raise KeyError("stopped")
    return len(trajectory.turns) < 50


def is_odd(state):
    return len(state.messages) % 4 > 1


class Lines:
    """Writes a line for each point."""

    def __init__(self, run):
        self.file = (run / "lines.txt").open("a")

    def log(self, figures, *, step):
        if Path("full").exists():
            raise OSError("no space left")
        self.file.write(f"{step} {sorted(figures)[0]}\\n")

    def close(self):
        self.file.close()


SOPD = Method(
    name="sopd",
    title="On-policy labels (SOPD)",
    mixture=StudentMixtureSettings(),
    filter="finished",
    label=True,
    transitions=teach_labels,
    acts="the student on every turn",
    taught="the teacher's action in every visited state",
    weight="1",
)
GUIDED_OPD = Method(
    name="guided_opd",
    title="Guided-OPD",
    mixture=DaggerMixtureSettings(start=0.5, decay=0.25, floor=0),
    filter="all",
    label=False,
    objective=ReverseKlSettings(),
    transitions=teach_sampled,
    acts="each turn: the teacher with probability β_i → 0",
    taught="the student's executed turns",
    weight="log π_teacher − log π_student",
)
GATED = Method(
    name="gated",
    title="Gated DAgger",
    mixture=Rescued(longest=4),
    filter="word_methods:is_short",
    label=is_odd,
    objective=Focal(gamma=1.0),
    transitions=teach_labels,
    acts="the student; the teacher where a conversation is long",
    taught="the teacher's action where a gate asks for it",
    weight="1",
)
'''


def laid_into(folder, monkeypatch):
    """For a fixture: the module lies in `folder`, which is the current one; nothing of it stays imported."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / f"{NAME}.py").write_text(TEXT)
    yield folder
    sys.modules.pop(NAME, None)
