"""Tests that take minutes run where they are asked for, as .ci/run does."""

import os

import pytest

takes_minutes = pytest.mark.skipif(
    not os.environ.get("TURNMIX_LONG_TESTS"), reason="takes minutes: set TURNMIX_LONG_TESTS=1"
)
