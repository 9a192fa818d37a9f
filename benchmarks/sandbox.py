"""What a sandbox costs beside a peer's: start, command and stop, many at once, memory and descriptors, by turns.

The peer is mini-swe-agent (the extra `benchmarks` pins it), whose environments run each command by a program
of its own: `podman exec` into a container, or a fresh `bwrap`. Ours: `run` (a fresh process of /bin/sh) and
`shell` (execute_bash's persistent shell, as an agent uses it). Every round measures all of them, one after the
other; a figure is the median over the rounds. Then so many at once (the peer's in threads, as its programs have it):
the seconds until all have started, run one command, and stopped, the processor seconds of this process and of what it
waited for, the memory of all processes of one at rest (proportional: what is shared counts in parts), and the
descriptors that one at rest takes of this process. Prints two tables and one line of JSON; a ratio is ours over the
peer's, so under 1 is faster.

    python benchmarks/sandbox.py [--rounds N] [--commands N] [--at-once N] [--image IMAGE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from turnmix.sandboxes.sandbox import Sandbox
from turnmix.sandboxes.selection import BubblewrapSettings, ContainerSandboxSettings
from turnmix.sandboxes.settings import SandboxSettings
from turnmix.scaffold.shell import open_shell

COMMAND = "echo $((6 * 7))"
PODMAN = Path(__file__).parents[1] / "scripts" / "start_podman.sh"
Times = dict[tuple[str, str], list[float]]
Figures = dict[str, float]


class Clock:
    """Adds what passes in its context to `times`."""

    def __init__(self, times: Times, what: str) -> None:
        self.times, self.what = times, what

    @contextlib.contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.times[self.what, step].append(time.perf_counter() - began)


async def measure_ours(sandbox: Sandbox, clock: Clock, num_commands: int) -> None:
    with clock("start"):
        await sandbox.start()
    try:
        for _ in range(num_commands):
            with clock("run"):
                result = await sandbox.run(COMMAND, working_directory="/")
            assert result.output == b"42\n", result
        with clock("open shell"):
            shell = await open_shell(sandbox, working_directory="/", output_limit=1 << 16)
        assert shell is not None
        for _ in range(num_commands):
            with clock("shell"):
                await shell.start(COMMAND.encode())
                report = await shell.wait(quiet_seconds=None, total_seconds=10)
            assert report.head == b"42\n", report
        await shell.close()
    finally:
        with clock("stop"):
            await sandbox.stop()


def measure_peer(make: Any, clock: Clock, num_commands: int) -> None:
    with clock("start"):
        environment = make()
    for _ in range(num_commands):
        with clock("run"):
            result = environment.execute({"command": COMMAND})
        assert result["output"].strip() == "42", result
    container = getattr(environment, "container_id", None)
    with clock("stop"):
        environment.cleanup()
    if container is not None:  # it is stopped in the background, which would go on beside what comes next
        subprocess.run(["podman", "rm", "--force", "--time=0", container], capture_output=True)


@contextlib.contextmanager
def counted(figures: Figures, step: str) -> Iterator[None]:
    """Adds the seconds of its context, and those of processors, to `figures`."""
    began, busy = time.perf_counter(), processor_seconds()
    yield
    figures[step] = time.perf_counter() - began
    figures["processor"] = figures.get("processor", 0.0) + processor_seconds() - busy


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    ours, theirs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return ours.ru_utime + ours.ru_stime + theirs.ru_utime + theirs.ru_stime


def resident_bytes(pids: set[int]) -> int:
    """Proportional memory of processes: what several share counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(rollup.split("Pss:")[1].split()[0]) << 10
    return total


def processes() -> set[int]:
    """What this process has started, and the containers of the machine with what watches each."""
    parents, found = {}, {os.getpid()}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            program, _, fields = Path(f"/proc/{name}/stat").read_text().partition("(")[2].rpartition(")")
            parents[int(name)] = int(fields.split()[1])
            if program == "conmon":
                found.add(int(name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def num_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def rest(figures: Figures, before: set[int], descriptors: int, number: int) -> None:
    """What so many hold that have nothing to do."""
    figures["memory"] = resident_bytes(processes() - before) / number
    figures["descriptors"] = (num_descriptors() - descriptors) / number


async def ours_at_once(settings: SandboxSettings, number: int) -> Figures:
    figures: Figures = {}
    sandboxes = [settings.make() for _ in range(number)]
    before, descriptors = processes(), num_descriptors()
    try:
        with counted(figures, "start"):
            await asyncio.gather(*(sandbox.start() for sandbox in sandboxes))
        with counted(figures, "run"):
            results = await asyncio.gather(*(sandbox.run(COMMAND) for sandbox in sandboxes))
        assert {result.output for result in results} == {b"42\n"}, results
        rest(figures, before, descriptors, number)
    finally:
        with counted(figures, "stop"):
            await asyncio.gather(*(sandbox.stop() for sandbox in sandboxes))
    return figures


def peer_at_once(make: Any, number: int) -> Figures:
    figures: Figures = {}
    before, descriptors = processes(), num_descriptors()
    with ThreadPoolExecutor(number) as threads:
        with counted(figures, "start"):
            environments = [future.result() for future in [threads.submit(make) for _ in range(number)]]
        with counted(figures, "run"):
            run = [threads.submit(each.execute, {"command": COMMAND}) for each in environments]
            outputs = {future.result()["output"].strip() for future in run}
        assert outputs == {"42"}, outputs
        rest(figures, before, descriptors, number)
        with counted(figures, "stop"):
            list(threads.map(remove, environments))
    return figures


def remove(environment: Any) -> None:
    """The peer's own `cleanup` leaves its container to end in the background."""
    if (container := getattr(environment, "container_id", None)) is not None:
        subprocess.run(["podman", "rm", "--force", "--time=0", container], capture_output=True)
    environment.cleanup()


def peers(image: str, socket: str) -> dict[str, Any]:
    """What makes the peer's environments."""
    os.environ["MSWEA_SILENT_STARTUP"] = "1"
    try:
        from minisweagent.environments.docker import DockerEnvironment
        from minisweagent.environments.extra.bubblewrap import BubblewrapEnvironment
    except ImportError as error:
        raise SystemExit(f"the peer is not installed ({error}): pip install 'turnmix[benchmarks]'") from None
    logging.disable(logging.INFO)

    def make_container() -> Any:
        arguments = ["--rm", "--network=none"]
        return DockerEnvironment(
            image=image, executable="podman", run_args=arguments, interpreter=["sh", "-c"]
        )

    os.environ["CONTAINERS_CONF"] = f"{socket.removeprefix('unix://')}.conf"
    return {"container": make_container, "bubblewrap": BubblewrapEnvironment}


@contextlib.contextmanager
def podman() -> Iterator[str]:
    """The address of a Podman that ends with this run."""
    directory = Path(tempfile.mkdtemp(prefix="turnmix-benchmark-"))
    process = subprocess.Popen(["sh", str(PODMAN), str(directory / "podman.sock")], stderr=subprocess.DEVNULL)
    try:
        while subprocess.run(
            ["podman", "--url", f"unix://{directory}/podman.sock", "version"], capture_output=True
        ).returncode:
            time.sleep(0.02)
        yield f"unix://{directory}/podman.sock"
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Start, command and stop times beside a peer's.")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--commands", type=int, default=20, help="commands of a round")
    parser.add_argument(
        "--at-once", type=int, default=64, help="sandboxes at one moment (64); 0: leave it out"
    )
    parser.add_argument("--image", default="localhost/turnmix-test:1")
    arguments = parser.parse_args()
    with podman() as socket:
        ours, theirs = both(arguments.image, socket)
        times = measure(ours, theirs, arguments.rounds, arguments.commands)
        crowds: dict[str, Figures] = {}
        for kind in ours if arguments.at_once else ():
            crowds[f"{kind}, ours"] = asyncio.run(ours_at_once(ours[kind], arguments.at_once))
            crowds[f"{kind}, peer"] = peer_at_once(theirs[kind], arguments.at_once)
    figures = report(times, arguments.rounds, arguments.commands)
    if crowds:
        figures |= report_crowds(crowds, arguments.at_once)
    print(json.dumps(figures))


def both(image: str, socket: str) -> tuple[dict[str, SandboxSettings], dict[str, Any]]:
    """Our settings and what makes the peer's, by kind."""
    container = {"image": image, "socket": socket, "pull": "never"}
    ours = {
        "container": ContainerSandboxSettings.model_validate({"container": container}),
        "bubblewrap": BubblewrapSettings(),
    }
    return ours, peers(image, socket)


def measure(
    ours: dict[str, SandboxSettings], theirs: dict[str, Any], num_rounds: int, num_commands: int
) -> Times:
    times: Times = defaultdict(list)
    for number in range(num_rounds + 1):
        kept: Times = times if number else defaultdict(list)  # the first round warms everything up
        for kind, settings in ours.items():
            asyncio.run(measure_ours(settings.make(), Clock(kept, f"{kind}, ours"), num_commands))
            measure_peer(theirs[kind], Clock(kept, f"{kind}, peer"), num_commands)
    return times


def report(times: Times, num_rounds: int, num_commands: int) -> Figures:
    steps = ("start", "run", "open shell", "shell", "stop")
    median = {key: 1000 * statistics.median(values) for key, values in times.items()}
    print(f"milliseconds, median of {num_rounds} rounds of {num_commands} commands")
    print(f"  {'':20}" + "".join(f"{step:>12}" for step in steps))
    for what in dict.fromkeys(what for what, _ in times):
        shown = (f"{median[what, step]:12.2f}" if (what, step) in median else f"{'–':>12}" for step in steps)
        print(f"  {what:20}" + "".join(shown))
    figures = {
        f"{kind}_command_ratio": round(median[f"{kind}, ours", "run"] / median[f"{kind}, peer", "run"], 4)
        for kind in ("container", "bubblewrap")
    }
    print("  The peer's stop returns before its container has ended; ours when it is gone.")
    return figures


def report_crowds(crowds: dict[str, Figures], number: int) -> Figures:
    steps = {"start": "start s", "run": "run s", "stop": "stop s", "processor": "processor s"}
    print(f"{number} at once")
    print(f"  {'':20}" + "".join(f"{name:>14}" for name in [*steps.values(), "MB of one", "descriptors"]))
    for what, figures in crowds.items():
        shown = "".join(f"{figures[step]:14.2f}" for step in steps)
        print(f"  {what:20}{shown}{figures['memory'] / 1e6:14.1f}{figures['descriptors']:14.2f}")
    print(
        "  The runtime's own processor time is in no row. The peer has no process and no descriptor between two"
    )
    print("  commands in bubblewrap, and no state of a shell either.")
    ratio = crowds["container, ours"]["start"] / crowds["container, peer"]["start"]
    return {"containers_at_once_ratio": round(ratio, 4)} | {
        f"{kind}_{name}": round(crowds[f"{kind}, ours"][step] / scale, 2)
        for kind in ("container", "bubblewrap")
        for name, step, scale in (("mb", "memory", 1e6), ("descriptors", "descriptors", 1.0))
    }


if __name__ == "__main__":
    main()
