"""A repository that came with settings of its own: git reads its objects, and runs nothing that it names."""

import subprocess

import pytest

pytest.importorskip("libcst", reason="making tasks needs libcst: pip install 'turnmix[tasks]'")

from own_code import commit_all

from turnmix.core.errors import UserError
from turnmix.environments.repositories.archive.files import text_files
from turnmix.task_making.version_control import (
    changed_files,
    commits_between,
    diff_revisions,
    resolve,
    tree_members,
)

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@b")
HOOKS = ("post-index-change", "post-checkout", "pre-commit", "reference-transaction", "pre-auto-gc")


@pytest.fixture
def repository(tmp_path):
    """Two commits; every program that the settings name leaves `proof`."""
    path = tmp_path / "strange"
    path.mkdir()
    (path / ".gitattributes").write_text("* filter=x diff=x export-subst\n")
    (path / "a.py").write_text("a = 1\n")
    (path / "link").symlink_to("a.py")
    (path / "out").symlink_to("/etc/passwd")
    commit_all(path, "one")
    (path / "a.py").write_text("a = 2\n")
    commit_all(path, "two")
    proof = f"echo ran >> {tmp_path}/proof"
    (path / ".git" / "evil").mkdir()
    for hook in HOOKS:
        program = path / ".git" / "evil" / hook
        program.write_text(f"#!/bin/sh\n{proof}\n")
        program.chmod(0o755)
    settings = {
        "core.fsmonitor": f"{proof}; false",
        "core.hooksPath": f"{path}/.git/evil",
        "core.pager": f"{proof}; cat",
        "core.sshCommand": f"{proof}; false",
        "filter.x.smudge": f"{proof}; cat",
        "filter.x.clean": f"{proof}; cat",
        "diff.external": f"{proof}; true",
        "diff.x.command": f"{proof}; true",
        "diff.x.textconv": f"{proof}; cat",
        "alias.ls-tree": f"!{proof}",
        "extensions.partialClone": "origin",
        "remote.origin.url": "ssh://localhost/x",
        "remote.origin.promisor": "true",
    }
    for name, value in settings.items():
        subprocess.run(["git", "config", name, value], cwd=path, check=True)
    return path


def has_run(repository):
    return (repository.parent / "proof").exists()


def test_reading_a_strangers_commits_runs_none_of_its_programs(repository):
    new = resolve(repository, "HEAD")
    ((old, last),) = commits_between(repository, resolve(repository, "HEAD~1"), new)
    assert last == new
    assert changed_files(repository, old, new) == ["a.py"]
    assert "+a = 2" in diff_revisions(repository, old, new, ["a.py"])
    members = tree_members(repository, new)
    assert text_files(members) == {".gitattributes": "* filter=x diff=x export-subst\n", "a.py": "a = 2\n"}
    assert [member.path for member in members if member.kind == "symbolic link"] == ["link"]
    assert [member.path for member in tree_members(repository, None)] == [".gitattributes", "a.py", "link"]
    assert not has_run(repository)


def test_what_a_strangers_clone_lacks_is_not_fetched(repository):
    name = subprocess.run(
        ["git", "hash-object", "--no-filters", "a.py"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (repository / ".git" / "objects" / name[:2] / name[2:]).unlink()
    with pytest.raises(UserError, match=r"strange: git "):
        tree_members(repository, resolve(repository, "HEAD"))
    assert not has_run(repository)


def test_a_tree_whose_names_lead_out_is_refused(repository):
    for name in ("..", ".git", ".GIT", "git~1"):
        line = f"100644 blob {object_of(repository, 'HEAD:a.py')}\t{name}\n"
        tree = made(repository, ["git", "mktree"], line)
        commit = made(repository, ["git", *IDENTITY, "commit-tree", "-m", "x", tree], "")
        with pytest.raises(UserError, match="name another revision"):
            tree_members(repository, commit)


def test_a_tree_that_unfolds_without_end_is_not_unfolded(repository):
    name, kind, mode = object_of(repository, "HEAD:a.py"), "blob", "100644"
    for _ in range(12):
        lines = "".join(f"{mode} {kind} {name}\td{number}\n" for number in range(10))
        name, kind, mode = made(repository, ["git", "mktree"], lines), "tree", "040000"
    commit = made(repository, ["git", *IDENTITY, "commit-tree", "-m", "x", name], "")
    with pytest.raises(UserError, match="MiB"):
        tree_members(repository, commit)


def object_of(repository, name):
    return made(repository, ["git", "rev-parse", name], "")


def made(repository, command, given):
    told = subprocess.run(command, cwd=repository, input=given, capture_output=True, text=True, check=True)
    return told.stdout.strip()
