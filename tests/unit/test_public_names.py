"""What `import turnmix` offers is the same to a program and to a type checker."""

import ast
import subprocess
import sys
from pathlib import Path

import turnmix

CODE = Path(turnmix.__file__)


def test_type_checkers_see_every_public_name_where_it_lies():
    imported = {
        alias.name: node.module.removeprefix("turnmix.")
        for node in ast.walk(ast.parse(CODE.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("turnmix.")
        for alias in node.names
    }
    assert imported == turnmix._PLACES


def test_every_public_name_is_there_and_brings_neither_torch_nor_an_http_client():
    code = (
        "import sys, turnmix\n"
        "from turnmix import *\n"
        "assert all(name in globals() for name in turnmix.__all__)\n"
        "print({'torch', 'transformers', 'httpx', 'IPython'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(turnmix, "Trainer")
    assert "train" in dir(turnmix)
