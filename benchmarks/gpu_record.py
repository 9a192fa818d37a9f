"""What TurnMix does on this machine's GPU, measured and written down, in under ten minutes and without a network.

    make gpu-record                                                    # all steps on one card
    python benchmarks/gpu_record.py --steps exact,lora --out runs/gpu  # some of them, into another directory
    python benchmarks/gpu_record.py --small                            # tiny shapes on the CPU: does it run?
    python benchmarks/gpu_record.py --table --out runs/gpu             # the table of what is recorded there

Each step is a process of its own with a limit on its time, and writes each figure at once as a line of JSON to
`record.jsonl` in the directory: what a later step does to the machine, or the end of the time, takes nothing back. A
step that fails is recorded with its error, and the next one begins. `log.txt` holds what the steps printed, `table.md`
the table. Weights are random, in the shape of Qwen3-4B (and Qwen3-0.6B where cases are compared).

Steps stand in the order of their worth; where the time ends, the last ones are left out and recorded so.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

ERROR_LINES = 30


@dataclass(frozen=True)
class Step:
    """One process of the record."""

    seconds: int
    """It is ended after so many."""
    measures: str
    decides: str
    """Which number, and what it must be."""
    remedy: str
    """What to change where it is not."""


STEPS = {
    "machine": Step(
        60,
        "versions, card, compilers",
        "triton compiles a kernel",
        "install a C compiler (apt-get install gcc) and the triton that torch names",
    ),
    "exact": Step(
        130,
        "attention and whole gradients against a dense oracle in float64; three sizes on one kernel",
        "relative L2 below 1e-5 in float32 and 1e-2 in bfloat16; at most 2 compilations a dtype",
        "static buckets of rows in training/attention_flex.py if the dynamic kernel fails; a smaller block if the "
        "kernel does not fit the card's shared memory",
    ),
    "lora": Step(
        200,
        "the learner with LoRA and recomputation on one tree of each size in a row",
        "peak memory at most the estimate of doctor/memory.py, and at least 0.7 of it",
        "the estimate's bytes a row; learner.tokens_per_pass",
    ),
    "speed": Step(
        120,
        "FlexAttention on a tree and on plain causal rows, one kernel for all sizes and one for each, beside SDPA",
        "the dynamic kernel takes at most 1.1 times the static one's time on a tree",
        "static buckets of rows; kernel_options of flex_attention",
    ),
    "tree": Step(
        110,
        "a trajectory as a tree, one by one, packed by branch, and plain causal attention on as many rows",
        "share of the counted ideal at least 0.8",
        "the speed step says whether attention is in the way; else the head or the host",
    ),
    "full": Step(
        110,
        "the learner on all weights, and what a loss that is not finite does",
        "peak memory at most the estimate; no weight moves for a loss that is not finite",
        "the estimate; training/finiteness.py",
    ),
    "ranks": Step(
        90,
        "rank 0's share of two ranks that train all weights, its collectives replaced by copies",
        "peak memory at most the estimate for two ranks",
        "the acting copy on the CPU; learner.tokens_per_pass",
    ),
    "head": Step(
        40,
        "the loss head on Qwen3's vocabulary",
        "extra memory at most 1/16 of the card and the weight, time at most 1.5 times a plain head's",
        "CARD_SHARE in training/loss.py",
    ),
}


class Record:
    """Appends a step's figures to the record, one line each."""

    def __init__(self, path, step):
        self._path = path
        self._step = step

    def __call__(self, **figures):
        """`passed`, where it is among them, says whether the number that decides is as it must be."""
        # JSON has no word for what is not finite.
        told = {
            name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in figures.items()
        }
        line = json.dumps({"step": self._step, **told}, allow_nan=False)
        with self._path.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)

    def error(self, part=None):
        """The exception at hand."""
        lines = traceback.format_exc().splitlines()[-ERROR_LINES:]
        self(**({"part": part} if part else {}), passed=False, error="\n".join(lines))


def read_record(directory):
    path = directory / "record.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_one(options):
    """A step, in the process that was started for it. All imports are done before the one ahead of it ends."""
    import gpu_steps

    record = Record(options.out / "record.jsonl", options.one)
    if sys.stdin.readline().strip() != "go":
        return
    try:
        gpu_steps.run(options.one, record, is_small=options.small, earlier=read_record(options.out))
    except Exception:
        record.error()


def start(name, options, log):
    command = [sys.executable, __file__, "--one", name, "--out", str(options.out)]
    # Sizes of passes differ: blocks that cannot grow would leave holes.
    environment = {
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCH_LOGS": "recompiles",
        **os.environ,
    }
    return subprocess.Popen(
        command + ["--small"] * options.small,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        text=True,
        env=environment,
    )


def run_all(options):
    end = time.monotonic() + options.seconds
    names = options.steps.split(",") if options.steps else list(STEPS)
    if unknown := set(names) - set(STEPS):
        raise SystemExit(
            f"--steps: there is no {', '.join(sorted(unknown))}; choose among {', '.join(STEPS)}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "log.txt").open("a") as log:
        process = start(names[0], options, log)
        for place, name in enumerate(names):
            record = Record(options.out / "record.jsonl", name)
            following = start(names[place + 1], options, log) if place + 1 < len(names) else None
            left = end - time.monotonic()
            limit = left if options.small else min(STEPS[name].seconds, left)
            began = time.monotonic()
            try:
                if limit < 5:
                    record(passed=None, error="left out: the time was over")
                    process.kill()
                    continue
                process.communicate("go\n", timeout=limit)
                if process.returncode:
                    record(passed=False, error=f"the process ended with {process.returncode}: see log.txt")
                record(part="end", wall_seconds=round(time.monotonic() - began, 1))
            except subprocess.TimeoutExpired:
                process.kill()
                record(passed=False, error=f"ended after {limit:.0f} seconds")
            finally:
                process.wait()
                process = following
    write_table(options.out)


def write_table(directory):
    from gpu_table import table

    text = table(read_record(directory), STEPS)
    (directory / "table.md").write_text(text)
    print(text)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/gpu-record"))
    parser.add_argument("--steps", help=f"of {','.join(STEPS)}: those to run, in this order; left out: all")
    parser.add_argument("--seconds", type=float, default=480, help="no step goes on after so many")
    parser.add_argument(
        "--small", action="store_true", help="tiny shapes on the CPU, which may take their time"
    )
    parser.add_argument("--table", action="store_true", help="write the table of the record, measure nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options)
    elif options.table:
        write_table(options.out)
    else:
        run_all(options)


if __name__ == "__main__":
    main()
