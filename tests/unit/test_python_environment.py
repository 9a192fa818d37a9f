"""Only what is visibly a Python installation is shown inside a sandbox."""

import sys
from pathlib import Path

import pytest

from turnmix.core.errors import UserError
from turnmix.sandboxes.python_environment import find_python_environment


def make_environment(directory, *, python):
    (directory / "bin").mkdir(parents=True)
    (directory / "lib").mkdir()
    (directory / "bin" / "python").symlink_to(python)
    return str(directory)


def test_an_environment_is_shown_with_the_installation_it_was_made_from(tmp_path):
    installation = make_environment(tmp_path / "installation", python=Path(sys.executable).resolve())
    real = tmp_path / "installation" / "bin" / "python"
    real.unlink()
    real.write_text("#!/bin/sh\n")
    real.chmod(0o755)
    environment = find_python_environment(make_environment(tmp_path / "venv", python=real))
    assert environment.binds == (str(tmp_path / "venv"), installation)
    assert environment.variables("/usr/bin")["PATH"] == f"{tmp_path}/venv/bin:/usr/bin"


def test_one_made_from_the_systems_python_is_shown_alone(tmp_path):
    directory = make_environment(tmp_path / "venv", python="/usr/bin/env")
    assert find_python_environment(directory).binds == (directory,)


def test_a_directory_without_python_is_refused_with_the_way_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"python3 -m venv"):
        find_python_environment(str(tmp_path))


def test_a_home_directory_is_never_shown(tmp_path, monkeypatch):
    home = tmp_path / "user"
    make_environment(home, python="/usr/bin/env")
    monkeypatch.setenv("HOME", str(home))
    with pytest.raises(UserError, match="a directory of its own"):
        find_python_environment(str(home))


def test_an_interpreter_that_lies_in_a_home_directory_itself_is_refused(tmp_path, monkeypatch):
    home = tmp_path / "user2"
    make_environment(home, python="/usr/bin/env")
    (home / "bin" / "python3").write_text("#!/bin/sh\n")
    (home / "bin" / "python3").chmod(0o755)
    monkeypatch.setenv("HOME", str(home))
    directory = make_environment(tmp_path / "venv2", python=home / "bin" / "python3")
    with pytest.raises(UserError, match=r"user2 inside the sandbox"):
        find_python_environment(directory)
