"""What a verdict says of an agent's patch: the details of every world in which an agent changes files that are tested.

In: what a verifier found. Out: a `Verdict`. Or: a verdict that was kept, and `PatchDetails` out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from turnmix.core.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchDetails:
    """How a patch did."""

    submitted: bool
    """The agent finished with a patch that is not empty (paper App. F: a valid submission)."""
    passed: int
    """Tests, or calls, that decide the task."""
    failed: int
    patch: str
    """The agent's change as a unified diff."""
    set_aside: tuple[str, ...]
    """Files of the patch that were not used, because they decide what tests come to; the first of them."""

    @classmethod
    def of(cls, verdict: Verdict) -> PatchDetails:
        """Raises ValueError: the verdict is on no patch, or damaged."""
        told = {"patch": "", "set_aside": [], **verdict.details}
        set_aside = told["set_aside"]
        for name, kind in {"submitted": bool, "passed": int, "failed": int, "patch": str}.items():
            if type(told.get(name)) is not kind:
                raise ValueError(f"{name}: {told.get(name)!r} in a verdict on a patch")
        if not isinstance(set_aside, list) or not all(isinstance(path, str) for path in set_aside):
            raise ValueError("set_aside: no list of paths in a verdict on a patch")
        return cls(
            submitted=told["submitted"],
            passed=told["passed"],
            failed=told["failed"],
            patch=told["patch"],
            set_aside=tuple(set_aside),
        )


def patch_verdict(
    *,
    resolved: bool,
    submitted: bool,
    passed: int,
    failed: int,
    patch: str = "",
    set_aside: Sequence[str] = (),
) -> Verdict:
    """The verdict on a patch; what the details are is said at `PatchDetails`.

    >>> PatchDetails.of(patch_verdict(resolved=False, submitted=True, passed=2, failed=1)).failed
    1
    """
    details = {"submitted": submitted, "passed": passed, "failed": failed, "patch": patch}
    return Verdict(
        resolved=resolved, details={**details, **({"set_aside": list(set_aside)} if set_aside else {})}
    )
