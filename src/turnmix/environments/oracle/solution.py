"""What a repository should become: for the verifier and the oracle alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """What only the verifier and a privileged teacher may know. Never part of a state, a prompt or a sandbox."""

    files: Mapping[str, str]
    """The gold content of every file that the gold patch changes or adds, by relative path."""
    test_command: str
    """What an agent runs in order to judge its work."""
    removed: tuple[str, ...] = ()
    """Files that the gold patch removes."""
    test_timeout: float | None = None
    """Seconds that the test command may take; None: it is so quick that it is run after every change."""
    base: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Files as the agent finds them, where the task itself does not hold them."""
    present: frozenset[str] = field(default=frozenset(), repr=False)
    """Paths of further files as the agent finds them, whose content is not known: none of them is in the way."""
