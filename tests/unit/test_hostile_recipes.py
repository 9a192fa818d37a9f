"""A recipe from a stranger is refused in seconds and in one line, however it is built."""

import os
import resource
import subprocess
import sys

import pytest

from peak_memory import MAIN, peak_bytes
from strict_environment import strict_environment
from turnmix.core.yaml_text import MOST_LEVELS, MOST_VALUES, yaml_value

SECONDS, BYTES = 60, 1 << 30


def bomb(kind, factor=9):
    """Aliases of aliases: 9 to the 9th values of which none is written."""
    lines = [f"a0: &a0 {'[x, x]' if kind == 'list' else '{k: x}'}"]
    for level in range(1, 10):
        above = f"*a{level - 1}"
        body = ", ".join([above] * factor if kind == "list" else [f"k{n}: {above}" for n in range(factor)])
        lines.append(f"a{level}: &a{level} {f'[{body}]' if kind == 'list' else f'{{{body}}}'}")
    return "\n".join(lines) + "\n"


HOSTILE = {
    "aliases of lists": (bomb("list"), "unfolds to more than 20,000 values"),
    "aliases of mappings": (bomb("mapping"), "unfolds to more than 20,000 values"),
    "an alias of itself": ("a: &a [*a]\n", "unfolds to more than 20,000 values"),
    "lists in lists": ("a: " + "[" * 100_000, "nested more than 50 levels deep"),
    "mappings in mappings": ("a: " + "{a: " * 60_000, "nested more than 50 levels deep"),
    "dashes": ("- " * 100_000 + "a\n", "nested more than 50 levels deep"),
    "questions": ("? " * 100_000 + "a\n", "nested more than 50 levels deep"),
    "indents": ("".join(" " * level + "a:\n" for level in range(700)), "nested more than 50 levels deep"),
    "many values": ("a:\n" + "- b\n" * 60_000, "more than 20,000 values"),
    "many keys": ("method: sft\n" + "".join(f"a{number}: 1\n" for number in range(9_000)), "… and 8980 more"),
    "a long key": ("a" * 200_000 + ": 1\n", "not valid YAML at line 1"),
    "a long explicit key": ("? " + "a" * 200_000 + "\n: 1\n", "a key of 200,000 characters"),
    "a long value": ("method: " + "a" * 200_000 + "\n", "method: "),
    "a long number": ("seed: " + "9" * 5_000 + "\n", "a number of 5,000 digits"),
    "a long hexadecimal number": ("seed: 0x" + "f" * 200_000 + "\n", "a number of 200,002 digits"),
    "a number of minutes and seconds": ("seed: 1" + ":59" * 60_000 + "\n", "a number of 180,001 digits"),
    "a number that is none": ("seed: !!int abc\n", "what stands there is no int"),
    "a date that is none": ("seed: 2001-99-99\n", "what stands there is no timestamp"),
    "a switch that is none": ("seed: !!bool abc\n", "what stands there is no bool"),
    "a float without end": ("method: sft\nlearner: {learning_rate: .inf}\n", "learner.learning_rate"),
    "a key twice": ("seed: 1\nseed: 2\n", "the key 'seed' is given twice"),
    "a merge": ("a: &a {seed: 1}\n<<: *a\n", "not valid YAML at line 2"),
    "python": ("seed: !!python/object/apply:os.system ['touch proof']\n", "not valid YAML at line 1"),
    "a tag of its own": ("seed: !evil 1\n", "not valid YAML at line 1"),
    "bytes": ("method: sft\nseed: !!binary aGk=\n", "seed: "),
    "a control character": ("seed: \x1b[2J\n", "not valid YAML at line 1: the character U+001B"),
    "half of a character": (
        'method: sft\n"a\\uD83D": 1\n',
        "not valid YAML at line 2: half of a surrogate pair",
    ),
    "several documents": ("seed: 1\n---\nseed: 2\n", "not valid YAML at line 2"),
    "a list": ("[1, 2]\n", "a recipe is a mapping of keys to values, not a list"),
    "UTF-16": ("seed: 1\n".encode("utf-16"), "it is no UTF-8 text"),
    "bytes of no text": (os.urandom(100_000) + b"\xff", "it is no UTF-8 text"),
    "itself below itself": ("extends: r.yaml\n", "a circle"),
    "a list to extend": ("extends: [a, b]\n", "must be the name or the path of one recipe"),
    "a device to extend": ("extends: /dev/zero\n", "/dev/zero"),
    "a pipe to extend": ("extends: pipe\n", "'pipe' is not beside this file"),
    "a directory to extend": ("extends: folder\n", "folder"),
}


def dry_run(folder, *words):
    """Exit code, lines and seconds of the processor, within the bounds of memory that the whole process has."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "train", *words, "--dry-run"],
        cwd=folder,
        env=strict_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 * BYTES, 4 * BYTES)),
    )
    assert peak_bytes(folder) < BYTES
    assert "Traceback" not in done.stderr
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return done.returncode, done.stderr.splitlines(), seconds


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_recipe_is_a_line_that_says_what_is_wrong_and_where(tmp_path, name):
    text, complaint = HOSTILE[name]
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "r.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    code, lines, seconds = dry_run(tmp_path, "r.yaml")
    assert code == 2
    assert complaint in "\n".join(lines)
    assert len(lines) <= 21
    assert max(map(len, lines)) < 4100
    assert seconds < SECONDS
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize(
    "override", ["a=" + "[" * 50_000, "seed=" + "9" * 5_000, "a=&a [*a]", "seed=2001-99-99"]
)
def test_a_hostile_setting_on_the_command_line_is_one_line_too(tmp_path, override):
    code, lines, seconds = dry_run(tmp_path, "minirepo", override)
    assert (code, len(lines)) == (2, 1)
    assert "not valid YAML" in lines[0]
    assert len(lines[0]) < 4100
    assert seconds < SECONDS


def test_a_recipe_of_a_gigabyte_a_pipe_and_a_device_are_not_read(tmp_path):
    with (tmp_path / "r.yaml").open("wb") as file:
        file.truncate(1 << 30)
    os.mkfifo(tmp_path / "pipe.yaml")
    for name, complaint in (
        ("r.yaml", "the recipe cannot be read: it is larger than 0.25 MiB (in r.yaml)"),
        ("pipe.yaml", "recipe 'pipe.yaml' not found"),
        ("/dev/zero", "recipe '/dev/zero' not found"),
    ):
        code, lines, seconds = dry_run(tmp_path, name)
        assert (code, len(lines)) == (2, 1)
        assert complaint in lines[0]
        assert seconds < SECONDS


def test_a_chain_of_recipes_that_extend_each_other_has_an_end(tmp_path):
    for number in range(1000):
        (tmp_path / f"r{number}.yaml").write_text(f"extends: r{number + 1}\n")
    code, lines, _ = dry_run(tmp_path, "r0.yaml")
    assert (code, lines) == (2, ["turnmix: r0.yaml: extends: more than 8 files on each other: merge some"])


def test_what_a_recipe_needs_is_read():
    deep = "a"
    for _ in range(MOST_LEVELS - 1):
        deep = f"[{deep}]"
    assert str(yaml_value(deep)).replace("'", "") == deep
    shared = yaml_value("a: &a {seed: 1}\nb: *a\nc: [*a, *a]\n")
    assert shared == {"a": {"seed": 1}, "b": {"seed": 1}, "c": [{"seed": 1}] * 2}
    assert len(yaml_value("- b\n" * (MOST_VALUES - 1))) == MOST_VALUES - 1
