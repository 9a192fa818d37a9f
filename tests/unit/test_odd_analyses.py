"""Sweeps and analyses from elsewhere: whatever stands in a file, it is read as it is, or told in one line that names
the file. Nothing is a traceback, and nothing impossible becomes a figure."""

import copy
import json
import os
import random
import shutil

import pytest
import yaml
from test_comparing import begun

import turnmix
from turnmix.analysis.instruments import tables_of
from turnmix.analysis.stored import stored_analyses
from turnmix.analysis.teacher_prices import kept_prices
from turnmix.core.errors import UserError
from turnmix.store.records import ResultsRecord, checked

RUN = "dagger-seed-0"
ANALYSIS = f"{RUN}/analyses/iteration-001"
FILES = (
    "comparison.json",
    "comparison.yaml",
    f"{RUN}/recipe.yaml",
    f"{RUN}/summary.json",
    f"{RUN}/analyses/teacher/teacher.jsonl",
    *(
        f"{ANALYSIS}/{name}"
        for name in (
            "analysis.json",
            "own.jsonl",
            "own-scores.jsonl",
            "teacher-scores.jsonl",
            "breaking.jsonl",
        )
    ),
)
ODD = (
    *(float("nan"), float("inf"), -1, -0.5, 1e308, 10**400, 2**63, True, None, "", "1", "nan"),
    *("long " * 40_000, "\x1b[31mred\u202e", "../../etc/passwd", [], {}, [None], {"a": []}),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return begun(tmp_path_factory.mktemp("odd") / "sweep")


def places(value, path=()):
    """Each value in a value, by the keys that lead to it."""
    yield path
    members = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, member in members:
        yield from places(member, (*path, key))


def mutated(value, generator):
    """With one odd value in it, or with one missing."""
    value = copy.deepcopy(value)
    path = generator.choice([*places(value)][1:])
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    if generator.random() < 0.2:
        del holder[path[-1]]
    else:
        holder[path[-1]] = generator.choice(ODD)
    return value


def rewritten(path, generator):
    text = path.read_text()
    if path.suffix == ".yaml":
        path.write_text(yaml.safe_dump(mutated(yaml.safe_load(text), generator)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(mutated(json.loads(text), generator)))
    else:
        lines = text.splitlines()
        at = generator.randrange(len(lines))
        lines[at] = json.dumps(mutated(json.loads(lines[at]), generator), separators=(",", ":"))
        path.write_text("\n".join(lines) + "\n")


def replaced(path, generator):
    """By something that is no such file."""
    held = path.read_bytes()
    path.unlink()
    how = generator.choice(["directory", "link", "pipe", "empty", "binary", "cut"])
    if how == "directory":
        path.mkdir()
    elif how == "link":
        path.symlink_to("/dev/zero")
    elif how == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes({"empty": b"", "binary": bytes(range(256)), "cut": held[: len(held) // 2]}[how])


def compare_two(sweep):
    turnmix.compare(sweep / RUN, sweep / "sft-seed-0").tables()


def tables_of_run(sweep):
    tables_of(stored_analyses(sweep / RUN))


def check_asked(asked, sweep, where):
    try:
        asked(sweep)
    except UserError as error:
        (line,) = error.lines
        assert len(line) < 1500, (where, line[:200])
        assert str(sweep) in line, (where, line)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("error")
def test_whatever_stands_in_a_file_it_is_read_or_told_in_one_line(whole, tmp_path, name):
    for seed in range(4):
        generator = random.Random(f"{name} {seed}")
        sweep = tmp_path / str(seed)
        shutil.copytree(whole, sweep)
        (replaced if seed == 3 else rewritten)(sweep / name, generator)
        check_asked(turnmix.list_runs, sweep, (name, seed))
        check_asked(turnmix.compare, sweep, (name, seed))
        check_asked(compare_two, sweep, (name, seed))
        check_asked(tables_of_run, sweep, (name, seed))


def test_nats_without_tokens_are_no_score(whole, tmp_path):
    sweep = tmp_path / "sweep"
    shutil.copytree(whole, sweep)
    scores = sweep / ANALYSIS / "own-scores.jsonl"
    scores.write_text(scores.read_text().replace('"label_tokens":2', '"label_tokens":0', 1))
    with pytest.raises(UserError, match=r"own-scores.jsonl: .*turns.0: label_nll is 1, and label_tokens 0"):
        turnmix.compare(sweep)


def test_more_resolved_than_there_are_tasks_is_no_result():
    figures = {"resolved": 5, "n": 3, "low": 0.0, "high": 1.0, "mean_turns": 2.0, "stop_reasons": {}}
    with pytest.raises(
        UserError, match=r"results.json is damaged \(resolved is 5, of n = 3 tasks\): evaluate"
    ):
        checked({**figures, "infra_errors": 0}, ResultsRecord, where="results.json", fix="evaluate again")


def test_a_price_below_zero_is_no_price(tmp_path):
    (tmp_path / "analyses").mkdir()
    (tmp_path / "analyses/prices.json").write_text('{"input": -3.0, "output": 1.0}')
    with pytest.raises(UserError, match=r"prices.json is damaged \(input: .*greater than or equal to 0"):
        kept_prices(tmp_path)
