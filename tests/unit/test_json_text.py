"""What others wrote as JSON is read within bounds, or refused in words."""

import ast
import json
import os
import random
from pathlib import Path

import pytest

import turnmix
from turnmix.core.bounded_file import read_bounded
from turnmix.core.errors import UserError
from turnmix.core.json_text import MOST_BYTES, MOST_LEVELS, json_value, read_json_file

ROOT = Path(turnmix.__file__).parent
READS_ITSELF = {
    "core/json_text.py",
    # The reader of what a model writes has bounds of its own.
    "rendering/arguments.py",
    # These run as programs of their own, in which no TurnMix is.
    "environments/minirepo/verifier.py",
}


def nested(levels, kind="list"):
    opened, closed = {"list": ("[", "]"), "object": ('{"a":', "}"), "both": ('[{"a":', "}]")}[kind]
    times = levels // 2 if kind == "both" else levels
    return opened * times + ("" if kind == "list" else "0") + closed * times


@pytest.mark.parametrize("kind", ["list", "object", "both"])
def test_nesting_is_read_to_its_bound_and_no_deeper(kind):
    assert json.dumps(json_value(nested(MOST_LEVELS, kind))).replace(" ", "") == nested(MOST_LEVELS, kind)
    for levels in (MOST_LEVELS + 2, 900, 5_000, 100_000, 1_000_000):
        for text in (
            nested(levels, kind),
            nested(levels, kind).encode(),
            f'{{"id": {nested(levels, kind)}}}',
        ):
            with pytest.raises(ValueError, match=r"^nested more than 100 levels deep$"):
                json_value(text)


def test_many_brackets_side_by_side_are_no_nesting():
    value = [[{"a": [number]}] for number in range(1000)]
    assert json_value(json.dumps(value)) == value
    text = "[{" * 5000
    assert json_value(json.dumps(text)) == text


def test_depth_is_measured_as_it_is():
    generator = random.Random(0)

    def made(depth):
        if depth == 0:
            return generator.choice([1, "[[", None, {}, []])
        members = [made(generator.randrange(depth)) for _ in range(generator.randrange(3))]
        members.insert(generator.randrange(len(members) + 1), made(depth - 1))
        return {str(n): each for n, each in enumerate(members)} if generator.random() < 0.5 else members

    def depth_of(value):
        if not isinstance(value, (dict, list)):
            return 0
        return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)

    for _ in range(200):
        value = made(generator.randrange(1, 9))
        depth = depth_of(value)
        assert json_value(json.dumps(value), levels=depth) == value
        with pytest.raises(ValueError, match="levels deep"):
            # Enough brackets that the count alone does not settle it.
            json_value(json.dumps([[], [], [], [], [], [], [], [], [], value]), levels=depth)


def test_a_number_of_endless_digits_is_refused_in_plain_words():
    with pytest.raises(ValueError, match=r"^a number has thousands of digits$"):
        json_value("9" * 5000)


def test_a_file_of_our_own_that_is_endless_a_pipe_or_too_large_is_one_line(tmp_path):
    pipe, large, deep = tmp_path / "pipe", tmp_path / "large", tmp_path / "deep"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(1 << 40)
    deep.write_text(nested(100_000))
    for path, reason in (
        (pipe, "it is no regular file"),
        (Path("/dev/zero"), "it is no regular file"),
        (large, "it is larger than 16 MiB"),
        (tmp_path, "Is a directory"),
        (deep, "nested more than 100 levels deep"),
    ):
        with pytest.raises(UserError) as raised:
            read_json_file(path, fix="delete it")
        assert str(raised.value) == f"{path} cannot be read ({reason}): delete it"


def test_a_bounded_file_is_read_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_bounded(tmp_path / "a", most=10) == b"x" * 10
    with pytest.raises(OSError, match="larger than"):
        read_bounded(tmp_path / "a", most=9)
    assert MOST_BYTES == 16 << 20


def test_json_is_read_in_one_place():
    elsewhere = [
        f"{name}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        if (name := path.relative_to(ROOT).as_posix()) not in READS_ITSELF and "/inside/" not in name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("load", "loads", "JSONDecoder")
        and getattr(node.value, "id", "") == "json"
    ]
    assert elsewhere == []
