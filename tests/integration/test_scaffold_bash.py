"""`execute_bash` in a real sandbox, with a real shell on a real terminal."""

import asyncio
import gc
import shlex

import pytest
from scaffold_in_sandbox import PATIENT, any_sandbox, in_world  # noqa: F401 (any_sandbox: every test, in each kind)

from turnmix.sandboxes.sandbox import Limits
from turnmix.scaffold import bash, shell
from turnmix.scaffold.bash import LONGEST_COMMAND
from turnmix.scaffold.shell_line import MARKER

STILL_RUNNING = "ERROR: The previous command is still running"
FOOTER = "[Current working directory: {}]\n[Command finished with exit code {}]"


def ended(output: str = "", *, directory: str = "/testbed", code: int = 0) -> str:
    return output + FOOTER.format(directory, code)


def test_output_directory_and_exit_code_are_reported():
    async def test(world):
        assert await world.bash("echo hi; echo err >&2") == ended("hi\nerr\n")
        assert await world.bash("(exit 7)") == ended(code=7)
        assert await world.bash("printf 'no newline'") == ended("no newline\n")
        assert await world.bash("true") == ended()

    in_world(test)


def test_directory_variables_and_functions_last():
    async def test(world):
        assert await world.bash("cd /tmp; X=1; f() { echo f$X; }") == ended(directory="/tmp")
        assert await world.bash("f") == ended("f1\n", directory="/tmp")

    in_world(test)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("cat <<'EOF'\n$a 'b' \"c\"\nEOF", "$a 'b' \"c\"\n"),
        ("for i in 1 2\ndo echo $i\ndone", "1\n2\n"),
        ("echo 'it'\"'\"'s' !! `echo back` $((1+1)) \\\\", "it's !! back 2 \\\n"),
        ("printf '%s\\n' a\tb # comment", "a\nb\n"),
        ("echo " + "x" * 9000 + " | wc -c", "9001\n"),
        ("echo é", "é\n"),
        ("PS1='$ '; echo kept", "kept\n"),
        ("set -u; echo $PWD; set +u", "/testbed\n"),
        ("env | grep ^PS1", ""),
    ],
)
def test_a_command_of_any_shape_runs_as_written(command, expected):
    async def test(world):
        assert await world.bash(command) == ended(expected)

    in_world(test)


@pytest.mark.parametrize("name", ["a $(echo b) `c`", "\\w\\$", "new\nline", "é", "#turnmix"])
def test_a_directory_of_any_name_is_reported_as_it_is(name):
    async def test(world):
        quoted = shlex.quote(name)
        observation = await world.bash(f"mkdir {quoted}; cd {quoted}")
        assert observation == ended(directory=f"/testbed/{name}")

    in_world(test)


def test_the_exit_code_of_the_command_before_can_be_asked_for():
    async def test(world):
        await world.bash("(exit 6)")
        assert await world.bash("echo $? ${?}; echo $?") == ended("6 6\n0\n")
        assert await world.bash("echo $?") == ended("0\n")

    in_world(test)


def test_what_the_scaffold_types_and_sets_is_not_shown():
    async def test(world):
        assert "turnmix" not in await world.bash("set; env; declare -p; set -x")
        assert await world.bash("true") == ended("+ eval true\n++ true\n")

    in_world(test)


def test_a_syntax_error_is_told_and_the_shell_lives_on():
    async def test(world):
        await world.bash("X=kept")
        observation = await world.bash("if true; then")
        assert "syntax error" in observation
        assert observation.endswith("exit code 2]")
        assert await world.bash("echo $X") == ended("kept\n")

    in_world(test)


def test_a_command_that_prints_nothing_is_reported_as_running_and_takes_input():
    async def test(world):
        observation = await world.bash("read line; echo got $line")
        assert "still running" in observation
        assert (await world.bash("ls")).startswith(STILL_RUNNING)
        assert await world.bash("word", is_input="true", timeout=PATIENT) == ended("got word\n")
        assert (await world.bash("word", is_input="true")).startswith("ERROR: No command is running")
        assert (await world.bash("")).startswith("ERROR: No command is running")

    in_world(test, no_output_seconds=0.2)


def test_a_question_without_a_newline_is_shown_while_it_waits():
    async def test(world):
        assert (await world.bash_until("Password", "read -p 'Password: ' word")).startswith("Password: \n")
        assert await world.bash("C-c", is_input="true", timeout=PATIENT) == ended("\n", code=130)

    in_world(test, no_output_seconds=0.2)


def test_a_program_that_reads_all_its_input_cannot_swallow_the_report():
    async def test(world):
        assert "still running" in await world.bash("cat")
        assert "still running" in await world.bash_until("text", "text", is_input="true")
        assert await world.bash("C-d", is_input="true", timeout=PATIENT) == ended()

    in_world(test, no_output_seconds=0.2)


def test_a_stopped_program_can_be_continued():
    async def test(world):
        assert "still running" in await world.bash("cat; echo after")
        assert "still running" in await world.bash_until("begun", "begun", is_input="true")
        assert "exit code" in await world.bash("C-z", is_input="true", timeout=PATIENT)
        assert "still running" in await world.bash_until("cat", "fg")
        assert (await world.bash_until("word", "word", is_input="true")).startswith("word\n")
        assert "exit code 0]" in await world.bash("C-d", is_input="true", timeout=PATIENT)

    in_world(test, no_output_seconds=0.2)


def test_an_empty_command_asks_for_further_output():
    async def test(world):
        assert "still running" in await world.bash("until [ -e go ]; do sleep 0.05; done; echo done")
        waiting = asyncio.ensure_future(world.bash("", timeout=PATIENT))
        await asyncio.sleep(0.2)  # after which it has seen that the command runs on
        await world.sandbox.write_file("/testbed/go", b"")
        assert await waiting == ended("done\n")

    in_world(test, no_output_seconds=0.2)


def test_a_command_that_ended_meanwhile_is_told_before_the_next():
    async def test(world):
        assert "still running" in await world.bash("until [ -e go ]; do sleep 0.05; done; echo late")
        await world.sandbox.write_file("/testbed/go", b"")
        observation = STILL_RUNNING
        while observation.startswith(STILL_RUNNING):
            observation = await world.bash("echo next", timeout=PATIENT)
        assert observation == (
            f"[The previous command has ended.]\n{ended('late' + chr(10))}\n{ended('next' + chr(10))}"
        )

    in_world(test, no_output_seconds=0.1)


def test_a_command_over_its_time_is_interrupted_and_the_shell_lives_on(monkeypatch):
    monkeypatch.setattr(bash, "INTERRUPT_SECONDS", PATIENT)

    async def test(world):
        await world.bash("X=kept")
        observation = await world.bash("echo begun; sleep 600", timeout="1.5")
        assert observation == "begun\n\n[Current working directory: /testbed]\n[Stopped after 1.5 seconds.]"
        assert await world.bash("echo $X") == ended("kept\n")

    in_world(test)


def test_a_command_that_ignores_interrupts_loses_its_shell():
    async def test(world):
        observation = await world.bash("trap '' INT; while :; do :; done", timeout=1.5)
        assert "did not react to C-c. A new shell was opened." in observation
        assert await world.bash("pwd") == ended("/testbed\n")

    in_world(test)


def test_an_agent_whose_interrupt_ends_nothing_is_told_what_does():
    async def test(world):
        assert "still running" in await world.bash_until("deaf", "trap '' INT; echo deaf; cat >/dev/null")
        assert "C-c did not end it. q ends a pager" in await world.bash("C-c", is_input="true")
        assert "A new shell was opened" in await world.bash("", timeout=0.1)
        assert await world.bash("echo hi", timeout=PATIENT) == ended("hi\n")

    in_world(test, no_output_seconds=0.2)


@pytest.mark.parametrize("command", ["exit 3", "kill -9 $$", "exec true", "set -e; false"])
def test_a_shell_that_ends_is_replaced_and_the_agent_is_told(command):
    async def test(world):
        await world.bash("cd /tmp")
        assert (await world.bash(command)).endswith("[The shell has ended. A new shell was opened.]")
        assert await world.bash("pwd") == ended("/testbed\n")

    in_world(test)


@pytest.mark.parametrize(
    "act",
    [
        "command() { echo mine; }",
        "printf() { echo mine; }; test() { echo mine; }; [() { echo mine; }",
        "builtin() { echo mine; }; cd() { echo mine; }; unset() { echo mine; }; pwd() { echo mine; }",
        "alias eval=echo command=echo printf=echo [=echo unset=echo echo='echo '",
        "alias esac='echo a'",
        "enable -n printf test [ echo",
        "unset PS1 PS2 PWD OLDPWD PATH; PATH=/usr/bin:/bin",
        "PS1='$ '; PS2='> '; export -n PS1",
        "PROMPT_COMMAND='PS1=\"$ \"'",
        "set -u; unset PWD; cd /testbed",
        "set -o posix; export POSIXLY_CORRECT=1 LC_ALL=C",
        "set -C -f +m -o pipefail -E -T -h",
        "IFS=0123456789:/",
        "trap 'true' DEBUG ERR RETURN EXIT INT TERM",
        "exec 3>&1 4>/tmp/four 5</dev/null; exec 4>&-",
        "exec > >(tee -a /tmp/log) 2>&1",
        "stty -icanon -icrnl -ixon -isig onlcr",
        "umask 777; ulimit -c 0",
        "readonly PWD=x",
        "PS1=; unset turnmix_code; set -a",
        "set -n",
        "(exit 9)",
    ],
)
def test_an_act_that_leaves_the_shell_able_to_report_changes_no_answer(act):
    async def test(world):
        await world.bash(act)
        assert await world.bash("echo hi; (exit 3)") == ended("hi\n", code=3)
        assert await world.bash("/bin/printf 'a\rb\n' | od -An -c") == ended("   a  \\r   b  \\n\n")

    in_world(test)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("exec 2>/tmp/err", 0),
        ("exec 2>&-; false", 1),
        ("exec >/tmp/out", 0),
        ("exec >&-", 0),
        ("exec >/dev/null 2>&1; (exit 4)", 4),
        ("readonly PS1; (exit 5)", 5),
        ("readonly PROMPT_COMMAND='PS1=x'", 0),
        ("readonly PS2=", 0),
        ("shopt -u promptvars", 0),
        ("trap 'PS1=x' DEBUG", 0),
        ("ulimit -n 3", 0),
        ("set -r", 0),
    ],
)
def test_an_act_after_which_answers_would_be_wrong_is_told_and_a_new_shell_opened(act, code, monkeypatch):
    monkeypatch.setattr(shell, "_PROMPT_SECONDS", 0.5)

    async def test(world):
        observation = await world.bash(f"echo out; {act}")
        assert observation.startswith("out\n")
        assert f"exit code {code}]\n[What the shell reports by was changed" in observation
        assert observation.endswith("A new shell was opened.]")
        monkeypatch.setattr(shell, "_PROMPT_SECONDS", PATIENT)
        assert await world.bash("echo hi; (exit 3)") == ended("hi\n", code=3)

    in_world(test)


@pytest.mark.parametrize("act", ["eval() { echo mine; }", "enable -n eval", "alias case=echo", "alias {=:"])
def test_a_command_that_a_changed_shell_does_not_run_is_run_in_a_new_one(act):
    async def test(world):
        await world.bash(act)
        observation = await world.bash("echo hi; (exit 3)")
        assert "The command was not run there. A new shell was opened.]\n" in observation
        assert observation.endswith("]\n" + ended("hi\n", code=3))
        assert await world.bash("echo hi; (exit 3)") == ended("hi\n", code=3)

    in_world(test)


@pytest.mark.parametrize("command", ["echo 'abc", 'echo "abc', "if", "echo $(", "cat <<'E'\nif", "f() {"])
def test_a_first_command_that_cannot_be_parsed_costs_no_shell(command):
    async def test(world):
        assert "A new shell" not in await world.bash(command)
        assert await world.bash("echo hi; (exit 3)") == ended("hi\n", code=3)

    in_world(test)


def test_a_shell_that_ended_between_two_commands_is_replaced_before_the_second():
    async def test(world):
        await world.bash("(until [ -e go ]; do sleep 0.05; done; kill -9 $$) & disown; echo $$ > pid")
        gone = "touch go; while [ -e /proc/$(cat pid) ]; do sleep 0.05; done"
        assert (await world.sandbox.run(gone, working_directory="/testbed", timeout=PATIENT)).exit_code == 0
        await asyncio.sleep(0.5)  # in which the scaffold hears of it
        assert await world.bash("echo hi") == (
            f"[The shell had ended. A new shell was opened.]\n{ended('hi' + chr(10))}"
        )

    in_world(test)


@pytest.mark.parametrize("start", ["bash --norc", "sh"])
def test_a_shell_inside_the_shell_can_be_left(start):
    async def test(world):
        await world.bash(f"X=kept; {start}")
        await world.bash("echo inside")
        assert "exit code 7]" in await world.bash("exit 7")
        assert await world.bash("echo $X; (exit 3)") == ended("kept\n", code=3)

    in_world(test)


@pytest.mark.parametrize("start", ["bash --norc", "sh", "exec sh"])
def test_a_shell_inside_the_shell_works_as_a_shell(start):
    async def test(world):
        assert "exit code" in await world.bash(start)
        assert await world.bash("echo hi\nfalse") == ended("hi\n", code=1)
        assert "syntax error" in (await world.bash("if")).lower()
        assert await world.bash("cd /tmp") == ended(directory="/tmp")

    in_world(test)


def test_a_flood_is_cut_in_the_middle():
    async def test(world):
        observation = await world.bash("seq 1 2000000")
        assert observation.startswith("1\n2\n3\n")
        assert observation.endswith("1999999\n2000000\n" + ended())
        assert len(observation) < 30_200
        assert "characters left out ...]" in observation

    in_world(test)


def test_an_endless_flood_is_stopped(monkeypatch):
    monkeypatch.setattr(bash, "INTERRUPT_SECONDS", PATIENT)

    async def test(world):
        observation = await world.bash("yes", timeout=0.5)
        assert "[Stopped after 0.5 seconds.]" in observation
        assert len(observation) < 60_200
        assert await world.bash("echo hi") == ended("hi\n")

    in_world(test)


def test_background_output_does_not_pass_for_an_ending():
    async def test(world):
        await world.bash("(until [ -e go ]; do sleep 0.05; done; echo later; touch said) &")
        observation = await world.bash("touch go; until [ -e said ]; do sleep 0.05; done; echo now")
        assert observation.startswith("later\n")
        assert observation.endswith(ended("now\n"))

    in_world(test)


def test_output_that_looks_like_a_report_with_an_endless_exit_code_is_output():
    async def test(world):
        # Again and again, because the two ends of one must arrive together.
        first, second = MARKER[:16], MARKER[16:]
        printed = f"printf '%s%s%05000d:%s%s' '{first}' '{second}' 1 '{first}' '{second}'"
        observation = await world.bash(f"for i in $(seq 60); do {printed}; done; echo; false")
        assert observation.endswith(ended(code=1))
        assert await world.bash("pwd") == ended("/testbed\n")

    in_world(test)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_bytes_that_a_terminal_would_take_for_keys_reach_the_command(shell):
    async def test(world):
        if shell == "sh":
            await world.bash("exec sh")
        command = "printf %s '\x01\x03\x04\x15\x1a\x7f\r\\n\\\\\t\n\x1b[0m' | od -An -tx1"
        # \n and \\ stay two characters each, for printf %s interprets nothing
        bytes_shown = " 01 03 04 15 1a 7f 0d 5c 6e 5c 5c 09 0a 1b 5b 30\n 6d\n"
        assert await world.bash(command) == ended(bytes_shown)

    in_world(test)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_long_text_of_long_lines_reaches_the_command(shell):
    async def test(world):
        if shell == "sh":
            await world.bash("exec sh")
        text = ("it's é" * 2000 + "\n") * 5
        assert await world.bash(f"cat > file <<'END'\n{text}END") == ended()
        assert await world.sandbox.read_file("/testbed/file") == text.encode()

    in_world(test)


def test_the_longest_command_arrives_whole_and_a_longer_one_is_refused():
    async def test(world):
        command = "cat > file <<'END'\n{}\nEND"
        text = "'" * (LONGEST_COMMAND - len(command.format("")))
        assert await world.bash(command.format(text)) == ended()
        assert await world.sandbox.read_file("/testbed/file") == text.encode() + b"\n"
        assert (await world.bash(command.format(text + "x"))).startswith(
            "ERROR: Argument `command` is longer"
        )

    in_world(test)


@pytest.mark.parametrize("timeout", [0, -1, "1e9", "NaN", "soon"])
def test_an_impossible_timeout_is_refused(timeout):
    async def test(world):
        assert (await world.bash("echo hi", timeout=timeout)).startswith("ERROR: ")

    in_world(test)


def test_a_fork_bomb_leaves_an_agent_that_is_told_so():
    async def test(world):
        await world.bash("f() { f | f & }; f", timeout=1)
        for _ in range(3):
            assert await world.bash("echo hi", timeout=2)

    in_world(test, limits=Limits(processes=20))


def test_a_sandbox_that_is_stopped_under_its_shell_leaves_nothing_for_the_event_loop_to_complain_of():
    complaints = []

    async def test(world):
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        opened = await shell.open_shell(world.sandbox, working_directory="/testbed", output_limit=1000)
        assert opened is not None
        await world.sandbox.stop()
        del opened
        for _ in range(10):
            await asyncio.sleep(0.01)
            gc.collect()

    in_world(test)
    assert complaints == []
