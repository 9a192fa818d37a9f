"""What a check found out: one line of `turnmix doctor`, and of what is asked again before a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was checked."""

    subject: str
    """What was looked at, in a word: `reachable`, `model`, `context`, `tool_call`, …"""
    passed: bool | None
    """None: could not be told, which is no failure."""
    detail: str
