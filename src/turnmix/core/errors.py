"""The one tree of errors.

    TurnMixError
    ├── UserError                  the user's mistake: names the field, the value and the fix (exit code 2)
    │   ├── RecipeError
    │   └── MissingDependencyError names the package to install
    ├── TrainingError              a number that is not finite: nothing more is learned (exit code 1)
    ├── PluginError                code of the user's own failed: names its file and line (exit code 1)
    ├── CheckpointError            weights could not be written: a full disk (exit code 1)
    └── InfrastructureError        retried, then excluded; never a reward of 0 (exit code 1 when fatal)
        ├── SandboxError
        └── TeacherError           the teacher could not be asked

A wrong patch, a malformed tool call or an exhausted budget is no error: it is a trajectory with a stop reason.
"""

from __future__ import annotations

from turnmix.core.printable import printable_line


class TurnMixError(Exception):
    """Everything TurnMix raises on purpose. Each argument is one line of what it says, whatever stands in it."""

    def __init__(self, *lines: str) -> None:
        self.lines = tuple(printable_line(line) for line in lines)
        super().__init__("\n".join(self.lines))


class UserError(TurnMixError):
    """A mistake in what the user gave. The message names the field, the value and the fix."""


class RecipeError(UserError):
    """A recipe, or an override of one, that cannot be run."""


class MissingDependencyError(UserError):
    """An optional part is not installed. The message names the package."""


class TrainingError(TurnMixError):
    """Learning came to a number that is not finite. The message names where, and the last good checkpoint."""


class CheckpointError(TurnMixError):
    """Weights could not be written. The message names the checkpoint; nothing of it is left."""


class PluginError(TurnMixError):
    """Code of the user's own failed. The message names its file and line; a run stops, and can be gone on with."""


class InfrastructureError(TurnMixError):
    """Something around the agent failed, not the agent. Retried, then excluded and counted."""


class SandboxError(InfrastructureError):
    """A sandbox did not start, died, or lost its connection."""


class TeacherError(InfrastructureError):
    """The teacher gave no usable answer after all retries."""


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says first; its kind, where it says nothing.

    >>> first_line(ValueError("no such key\\n  in line 3")), first_line(KeyError())
    ('no such key', 'KeyError')
    """
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
