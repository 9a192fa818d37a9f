"""TurnMix as a wheel, in an environment that holds nothing else of the clone."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = [
    "iterations=1",
    "rollouts.tasks_per_iteration=2",
    "scaffold.max_turns=3",
    "student.max_new_tokens=8",
    "evaluation.tasks=1",
    "data.filter=all",
]
IS_FROM_NOTHING = bool(os.environ.get("TURNMIX_LONG_TESTS"))
"""Then what the wheel needs is installed as for a user; else this environment's own packages stand in for that."""


def run(*words, cwd):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        words,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=1500,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `bin` of the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(
        *pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT, cwd=folder
    )
    (wheel,) = folder.glob("turnmix-*.whl")
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    needs = ["--constraint", ROOT / "constraints.txt"] if IS_FROM_NOTHING else ["--no-deps", "--no-index"]
    run(*pip, "--python", python, "install", "--quiet", "--no-compile", *needs, wheel, cwd=folder)
    if not IS_FROM_NOTHING:
        (site,) = environment.glob("lib/python*/site-packages")
        (site / "packages_of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin"


def test_the_demos_recipe_runs_from_a_wheel_without_the_clone(installed, tmp_path):
    where = run(installed / "python", "-c", "import turnmix; print(turnmix.__file__)", cwd=tmp_path)
    assert Path(where).is_relative_to(installed.parent)
    run(installed / "turnmix", "train", "minirepo_dagger", *SMALL, "--run", "run", cwd=tmp_path)
    assert "1.00" in run(installed / "turnmix", "show", "run", cwd=tmp_path)
    run(installed / "turnmix", "report", "run", cwd=tmp_path)
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_types_of_the_wheel_are_known_to_a_users_type_checker(installed):
    (package,) = installed.parent.glob("lib/python*/site-packages/turnmix")
    assert (package / "py.typed").is_file()
