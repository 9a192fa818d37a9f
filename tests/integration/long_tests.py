"""Tests that take minutes run where they are asked for, as .ci/run does."""

import os

import pytest

takes_minutes = pytest.mark.skipif(
    "TURNMIX_LONG_TESTS" not in os.environ, reason="takes minutes: set TURNMIX_LONG_TESTS=1"
)
