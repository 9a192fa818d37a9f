"""Which sandbox a row needs: its image's, or one that shows its Python environment and finds its packages."""

from __future__ import annotations

from turnmix.environments.repositories.task_file import TaskRow
from turnmix.sandboxes.python_environment import find_python_environment
from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.settings import MakeSandbox, SandboxNeeds


def make_row_sandbox(make: MakeSandbox, row: TaskRow) -> Sandbox:
    """A sandbox for `row`, not started. Raises UserError: its Python environment is not there."""
    python = None if row.python_environment is None else find_python_environment(row.python_environment)
    variables = {"PYTHONPATH": ":".join(row.source_directories)} if row.source_directories else {}
    return make(SandboxNeeds(image=row.image, python=python, variables=variables))
