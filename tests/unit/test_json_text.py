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
from turnmix.core.json_text import MOST_BYTES, MOST_LEVELS, json_value, read_json_file, strict_json_value

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


PARTS = (
    *("0", "-0", "-0.0", "1.0", "1E5", "0.1", "5e-324", "2.2250738585072011e-308", "1e400", "-1e999"),
    *(
        str(sign * (2**power + more))
        for sign in (1, -1)
        for power in (53, 62, 63, 64, 200)
        for more in (-1, 0, 1)
    ),
    *("9" * digits for digits in (17, 18, 19, 20, 21)),
    *(
        "123456789012345678901234567890.5",
        "1." + "1" * 400,
        "NaN",
        "Infinity",
        "-Infinity",
        "true",
        "false",
        "null",
    ),
    *(
        '""',
        '"a"',
        r'"\ud800"',
        r'"\udc00\ud800"',
        r'"\ud83d\ude00"',
        '"\ud800"',
        '"é 漢 😀 \u2028 \x7f"',
        r'"\u0000\/\b"',
    ),
    *(
        '"\t"',
        "'a'",
        "01",
        "1.",
        ".5",
        "+1",
        "[1,]",
        "[,1]",
        '{"a":1,"a":2}',
        '{"":0}',
        "{1:2}",
        "{}",
        "[]",
        "[[]]",
        "tru",
    ),
)


def outcome(read, text):
    """What is read of a text: alike where types and signs are, too."""
    try:
        return repr(read(text))
    except ValueError as error:
        return type(error), str(error)


def test_what_is_read_is_what_pythons_own_reader_reads():
    generator = random.Random(0)
    texts = [*PARTS, *(f"[{part}]" for part in PARTS), "", " ", "\ufeff1", "1 2", "\n[1]\r\n "]
    for _ in range(2000):
        members = [generator.choice(PARTS) for _ in range(generator.randrange(1, 5))]
        named = "{" + ", ".join(f'"{number}": {member}' for number, member in enumerate(members)) + "}"
        texts += [f"[{', '.join(members)}]", named]
    for text in texts:
        assert outcome(json_value, text) == outcome(json.loads, text), text
        for code in ("utf-8", "utf-8-sig", "utf-16", "utf-32-le"):
            written = text.encode(code, "surrogatepass")
            assert outcome(json_value, written) == outcome(json.loads, written), written


def test_what_is_read_strictly_can_be_stored_and_sent():
    for text in PARTS:
        try:
            strict = strict_json_value(text)
        except ValueError:
            continue
        assert json.dumps(strict, ensure_ascii=False, allow_nan=False).encode()
    assert strict_json_value(r'["\ud800", "\ud83d\ude00", 18446744073709551616]') == ["?", "😀", 2**64]
    for text in ("NaN", "[-Infinity]", "1e400"):
        with pytest.raises(ValueError):
            strict_json_value(text)


def test_what_is_read_strictly_can_be_written_where_it_was_read():
    text = "[" * 600 + "]" * 600

    def read(frames):
        if frames:
            return read(frames - 1)
        try:
            value = strict_json_value(text, levels=700)
        except ValueError as refused:
            return str(refused)
        return json.dumps(value, allow_nan=False)

    assert read(0) == text
    for frames in range(0, 600, 20):
        assert read(frames) in (text, "nested too deeply", "nested more than 700 levels deep")


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
