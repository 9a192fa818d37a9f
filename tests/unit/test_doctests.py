"""The worked examples in docstrings hold."""

import doctest
import importlib
from pathlib import Path

import pytest

import turnmix

ROOT = Path(turnmix.__file__).parent
MODULES = [
    ".".join(("turnmix", *path.relative_to(ROOT).with_suffix("").parts))
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_hold_in(module):
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("turnmix"):
            raise
        pytest.skip(f"needs {error.name}")
    results = doctest.testmod(imported)
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("name", ["history", "renderer", "response_template", "segments", "formats"])
def test_token_code_carries_an_example(name):
    assert f"turnmix.rendering.{name}" in MODULES
