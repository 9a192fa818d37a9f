"""A repository of a task file as a Harbor task: its tree from the archive, its own tests, the gold patch.

The tests run where the agent worked, as Harbor runs them, once the files of the tests, and what steers pytest, are what
they were: these come from a fresh copy that the tests bring along.
"""

from __future__ import annotations

import gzip
import shlex
from importlib import resources

from turnmix.core.errors import UserError
from turnmix.core.json_text import json_text
from turnmix.environments.repositories.patch_application import GRADING
from turnmix.environments.repositories.patch_text import encoded
from turnmix.environments.repositories.task_file import TaskRow
from turnmix.task_making.harbor.directory import REWARD, HarborDirectory

STEERING = ("conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", "tox.ini", "setup.cfg", "pyproject.toml",
            "sitecustomize.py", "usercustomize.py")  # fmt: skip
"""Names of files that pytest, or Python, reads by itself, wherever they lie."""
SCRIPT = """\
#!/bin/sh
# Until the reward is first written, a failure is the environment's, and there is none.
set -e
export GIT_CONFIG_GLOBAL=/dev/null GIT_CEILING_DIRECTORIES=/
rm -rf {grading} && mkdir -p {grading}/as_it_was
cd {grading}/as_it_was
tar -x -z --no-same-owner -f /tests/repository.tar.gz
for patch in /tests/base.patch /tests/test.patch; do
    [ ! -s $patch ] || git apply --whitespace=nowarn $patch
done
cp /tests/pytest_report.py /tests/evaluate.sh {grading}/
echo 0 > {reward}
cd {directory}
put_back() {{
    rm -rf -- "$1"
    [ -e "{grading}/as_it_was/$1" ] || return 0
    mkdir -p -- "$(dirname -- "$1")" && cp -P -- "{grading}/as_it_was/$1" "$1"
}}
while IFS= read -r path; do put_back "$path"; done < /tests/test_files
find . {grading}/as_it_was {names} | sed "s|^{grading}/as_it_was/||; s|^\\./||" | sort -u > {grading}/steering
while IFS= read -r path; do put_back "$path"; done < {grading}/steering
nonce=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \\n')
echo "$nonce" | timeout {seconds} sh {grading}/evaluate.sh > {grading}/log 2>&1 || true
exec python3 -I -S -B /tests/check.py {grading}/log "$nonce" {reward}
"""


def repository_directory(row: TaskRow, archive: bytes) -> HarborDirectory:
    """In: a row with an archive, and that archive, as a tar. Raises UserError: the row is of a published set."""
    if row.image is not None or row.log_parser != "pytest":
        raise UserError(
            f"{row.instance_id}: its image and the log of its tests are of others, and Harbor has adapters of its own "
            "for published sets: tasks of minirepo and those of `turnmix tasks make` can be written out"
        )
    packed = gzip.compress(archive, mtime=0)
    inside = resources.files("turnmix.environments.repositories.inside")
    check = resources.files("turnmix.task_making.harbor.inside") / "repository_check.py"
    names = " -o ".join(f"-name {name}" for name in STEERING)
    script = SCRIPT.format(
        grading=GRADING,
        reward=REWARD,
        directory=shlex.quote(row.working_directory),
        names=f"-name .git -prune -o \\( {names} \\) -print",
        seconds=f"{row.timeout_seconds:.0f}",
    )
    base_patch = encoded(row.base_patch)
    lay = ["ADD repository.tar.gz ./"]
    if base_patch:
        lay += [
            "COPY base.patch /tmp/",
            "RUN git apply --whitespace=nowarn /tmp/base.patch && rm /tmp/base.patch",
        ]
    return HarborDirectory(
        name=row.instance_id,
        problem_statement=row.problem_statement,
        working_directory=row.working_directory,
        repository={"repository.tar.gz": packed, **({"base.patch": base_patch} if base_patch else {})},
        lay=tuple(lay),
        tests={
            "test.sh": script.encode(),
            "check.py": check.read_bytes(),
            "pytest_report.py": (inside / "pytest_report.py").read_bytes(),
            "evaluate.sh": encoded(row.evaluation_script),
            "expected.json": json_text([*row.fail_to_pass, *row.pass_to_pass]).encode(),
            "repository.tar.gz": packed,
            "base.patch": base_patch,
            "test.patch": encoded(row.test_patch),
            "test_files": "".join(f"{path}\n" for path in row.test_files).encode(),
        },
        gold_patch=encoded(row.gold_patch),
        test_seconds=row.timeout_seconds,
        variables={"PYTHONPATH": ":".join(row.source_directories)} if row.source_directories else {},
    )
