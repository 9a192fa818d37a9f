"""What may stand behind `turnmix sweep`, `compare` and `runs`."""

from __future__ import annotations

from typing import Any


def add_comparing(commands: Any) -> None:
    """Add the commands that run several runs and compare them."""
    sweep = commands.add_parser(
        "sweep",
        help="run a comparison: arms × seeds, each a run of its own",
        usage="turnmix sweep FILE [--output DIR] [--jobs N]\n"
        "       turnmix sweep RECIPE key=value,value ... [--output DIR] [--jobs N]",
        description="Train and analyse each arm of a comparison with each seed. The same command goes on with one "
        "that was stopped. The file is fixed before the first run: a changed one needs another directory.",
        epilog="example: turnmix sweep minirepo_dagger method=sft,dagger seed=0,1,2 --jobs 2",
    )
    sweep.add_argument(
        "words",
        nargs="*",
        default=[],
        metavar="FILE | RECIPE | key=value,value",
        help="a comparison file; or a recipe, and lists of values",
    )
    sweep.add_argument("--output", metavar="DIR", help="where the runs go; runs/NAME if left out")
    sweep.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time, as a cluster has room (1)"
    )

    compare = commands.add_parser(
        "compare",
        help="compare the arms of a sweep, or runs",
        usage="turnmix compare SWEEP_OR_FILE [--json]\n       turnmix compare RUN RUN ... [--outcomes NAMES] [--json]",
        description="Compare the arms of a sweep on its outcomes, and decide by its rule; or compare runs or "
        "evaluations that you name, paired by task: those that differ in their seeds alone are one arm, and the "
        "others are compared with the first. All is computed anew from what is stored.",
        epilog="example: turnmix compare runs/shift",
    )
    compare.add_argument(
        "targets", nargs="+", metavar="SWEEP | FILE | RUN", help="a sweep's directory or file, or runs"
    )
    compare.add_argument(
        "--outcomes", default="", metavar="NAMES", help="of runs: which outcomes, with commas between"
    )
    compare.add_argument("--json", action="store_true", help="print all figures as JSON")

    runs = commands.add_parser(
        "runs",
        help="list the runs, evaluations and sweeps below a directory",
        usage="turnmix runs [DIR] [--json]",
        description="List the runs, evaluations and sweeps below a directory: how far each is, what it resolved, and "
        "the command that goes on with it.",
    )
    runs.add_argument("directory", nargs="?", default="runs", metavar="DIR", help="where they lie (runs)")
    runs.add_argument("--json", action="store_true", help="print the same as JSON")
