"""Tests that take minutes run where they are asked for; the longest of each kind where all are."""

import os

import pytest

takes_minutes = pytest.mark.skipif(
    not os.environ.get("TURNMIX_LONG_TESTS"), reason="takes minutes: set TURNMIX_LONG_TESTS=1"
)
takes_many_minutes = pytest.mark.skipif(
    os.environ.get("TURNMIX_LONG_TESTS") != "all", reason="takes many minutes: set TURNMIX_LONG_TESTS=all"
)
