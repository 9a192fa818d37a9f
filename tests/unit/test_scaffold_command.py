"""A scaffold that is a command of this machine: what it is told, what it says, and that nothing of it stays."""

import asyncio
import os

import pytest

from turnmix.core.json_text import json_value
from turnmix.core.task import Task, Workspace
from turnmix.gateway.scaffolds.command import CommandOutside
from turnmix.gateway.scaffolds.log import FOLDER, HALF, ScaffoldLog, opened_log
from turnmix.gateway.scaffolds.report import read_report, verdict_of
from turnmix.gateway.scaffolds.work import ScaffoldWork

KEY = "tmx_0123456789abcdefghijklmnopqrstuvwxyz"
TASK = Task(id="t-1", problem_statement="Mend it.", workspace=Workspace(working_directory="/testbed"))


class Address:
    id, key = "i001-00000", KEY
    session_url = "http://127.0.0.1:9/sessions/i001-00000/route-0123456789"
    anthropic_base_url = session_url
    base_url = f"{session_url}/v1"


def work(log):
    return ScaffoldWork(task=TASK, seed=7, session=Address(), place=None, log=log)


def run(command, *, directory=None, log=None, **settings):
    scaffold = CommandOutside(command=command, directory=directory, **settings)
    return asyncio.run(scaffold(work(log or ScaffoldLog(None))))


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_command_is_told_its_session_and_its_task_and_of_this_environment_what_every_program_gets(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("MY_SECRET_TOKEN", "0a1b2c3d4e5f60718293")
    monkeypatch.setenv("MINE", "mine")
    said = "env > env.txt; cat $TURNMIX_TASK > task.txt; exit 3"
    end = run(said, directory=tmp_path, environment={"SET": "set"}, inherited=("MINE",))
    assert (end.status, end.report, end.fault) == (3, None, None)
    told = dict(line.split("=", 1) for line in (tmp_path / "env.txt").read_text().splitlines() if "=" in line)
    assert told["OPENAI_BASE_URL"] == told["OPENAI_API_BASE"] == Address.base_url
    assert told["OPENAI_API_KEY"] == told["ANTHROPIC_API_KEY"] == KEY
    assert told["ANTHROPIC_BASE_URL"] == Address.session_url
    assert told["TURNMIX_RUN_URL"] == f"{Address.session_url}/run"
    assert (told["SET"], told["MINE"]) == ("set", "mine")
    assert "MY_SECRET_TOKEN" not in told
    assert json_value((tmp_path / "task.txt").read_text()) == {
        "id": "t-1",
        "prompt": "Mend it.",
        "working_directory": str(tmp_path),
        "model": told["TURNMIX_MODEL"],
        "session": "i001-00000",
        "seed": 7,
    }


def test_a_command_without_a_directory_has_an_empty_one_of_its_own_which_is_gone_afterwards(tmp_path):
    where = tmp_path / "where.txt"
    run(
        f'pwd > {where}; ls -a | wc -l >> {where}; touch left; echo "$TURNMIX_FILES" >> {where}',
        files=tmp_path,
    )
    directory, entries, files = where.read_text().split()
    assert entries == "2"  # . and ..
    assert files == str(tmp_path)
    assert not os.path.exists(directory)


def test_a_report_is_what_the_command_leaves_and_one_that_is_none_is_told_as_a_fault():
    assert run("""echo '{"resolved": true}' > $TURNMIX_REPORT""").report == {"resolved": True}
    assert "it is no JSON" in run("echo resolved > $TURNMIX_REPORT").fault
    assert "larger than" in run("head -c 2000000 /dev/zero > $TURNMIX_REPORT").fault
    assert run("mkfifo $TURNMIX_REPORT").fault is not None


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"resolved": 1},
        {"resolved": "true"},
        {"resolved": True, "reward": True},
        {"resolved": True, "reward": "1"},
        {"resolved": True, "details": []},
        {"resolved": True, "submitted": 1},
        {"resolved": True, "score": 1},
    ],
)
def test_a_report_is_read_strictly(report):
    with pytest.raises(ValueError, match=r"^report: .*give "):
        verdict_of(report)


def test_a_report_becomes_a_verdict():
    verdict = verdict_of({"resolved": False, "reward": 0.25, "details": {"tests": 3}, "submitted": True})
    assert (verdict.resolved, verdict.reward, verdict.details) == (
        False,
        0.25,
        {"tests": 3, "submitted": True},
    )
    with pytest.raises(ValueError, match="it is"):
        read_report(b"[1]")


def test_what_a_command_started_ends_with_it_also_where_it_hides(tmp_path):
    pids = tmp_path / "pids"
    run(f"sleep 300 & echo $! > {pids}; setsid sleep 300 & echo $! >> {pids}; exit 0")
    assert [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)] == []


def test_a_command_that_is_given_up_ends_with_all_that_it_started(tmp_path):
    pids = tmp_path / "pids"

    async def give_up():
        scaffold = CommandOutside(command=f"trap '' TERM; sleep 300 & echo $$ $! > {pids}; wait; sleep 300")
        running = asyncio.create_task(scaffold(work(ScaffoldLog(None))))
        while not (pids.exists() and pids.read_text().split()):  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(give_up())
    assert [pid for pid in map(int, pids.read_text().split()) if is_alive(pid)] == []


def test_what_a_command_says_is_logged_without_its_key_also_where_that_is_cut_in_two(tmp_path):
    with opened_log(tmp_path, "i001-00000", is_first=True, secrets=[KEY]) as log:
        run(f"printf 'key {KEY[:20]}'; sleep 0.1; echo '{KEY[20:]} there'; echo error >&2", log=log)
        assert log.tail() == ["  key *** there", "  error"]
    assert (tmp_path / FOLDER / "i001-00000.log").read_text() == "key *** there\nerror\n"


def test_a_log_keeps_the_beginning_and_the_end_of_what_is_too_long(tmp_path):
    with opened_log(tmp_path, "long", is_first=True, secrets=[]) as log:
        for number in range(100_000):
            log.write(b"%09d\n" % number)
    kept = (tmp_path / FOLDER / "long.log").read_bytes()
    assert len(kept) < 2 * HALF + 100
    assert kept.startswith(b"000000000\n000000001\n")
    assert kept.endswith(b"000099998\n000099999\n")
    assert b"bytes left out" in kept
