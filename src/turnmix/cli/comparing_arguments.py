"""What may stand behind `turnmix sweep`."""

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
    sweep.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
