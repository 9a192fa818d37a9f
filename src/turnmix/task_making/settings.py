"""What a user configures of `turnmix tasks make`."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field, PositiveFloat

from turnmix.core.settings import Settings


class MakeSettings(Settings):
    """How tasks are made of a user's own code."""

    output: Path
    """The task file to write."""
    number: int = Field(default=100, ge=1)
    """Tasks to make at most."""
    seed: int = Field(default=0, ge=0)
    """Other seeds inject other bugs."""
    python: str = sys.prefix
    """The virtual environment with pytest and what else the tests need."""
    tests: tuple[str, ...] = ()
    """Test files to run, relative to the repository; none: every test_*.py and *_test.py."""
    pytest: tuple[str, ...] = ()
    """Further arguments of pytest."""
    timeout_seconds: PositiveFloat = 300.0
    """For one run of the tests."""
    jobs: int = Field(default=1, ge=1)
    """Candidates at one moment; each may need two sandboxes."""
