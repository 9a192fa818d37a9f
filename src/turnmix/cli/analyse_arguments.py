"""What may stand behind `turnmix analyse`."""

from __future__ import annotations

from typing import Any


def add_analyse(commands: Any) -> None:
    """Add the command."""
    analyse = commands.add_parser(
        "analyse",
        help="look at what a run's students do in their own states",
        usage="turnmix analyse RUN ... [key=value ...] [--checkpoints last|all|0,2,4]\n"
        "                       [--tasks N] [--instruments NAME,NAME]\n"
        "                       [--headroom KIND,KIND] [--judge KEY=VALUE ...]\n"
        "                       [--price KIND=DOLLARS ...] [--json]",
        description="Roll out a run's students on holdout tasks, with the teacher's label in every state, and print "
        "tables. What was made before lies in RUN/analyses and is not made again; the same command goes on with one "
        "that was stopped.",
        epilog="example: turnmix analyse runs/demo --instruments divergence,accidents --checkpoints all",
    )
    analyse.add_argument(
        "words", nargs="+", metavar="RUN | key=value", help="runs, and changes to their recipes"
    )
    analyse.add_argument(
        "--checkpoints",
        default="last",
        metavar="WHICH",
        help="last, all, or iterations such as 0,2,4; 0: the base student (last)",
    )
    analyse.add_argument(
        "--tasks", type=int, metavar="N", help="holdout tasks (those analysed before; else evaluation.tasks)"
    )
    analyse.add_argument(
        "--instruments",
        metavar="NAMES",
        help="divergence, accidents, headroom, gates, failures, teacher, scaling (divergence)",
    )
    analyse.add_argument(
        "--headroom",
        action="append",
        metavar="KINDS",
        help="kinds of steps that the expert takes over, such as edit,restore (edit); each time it is said is a "
        "rollout of its own",
    )
    analyse.add_argument(
        "--judge",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a model that names failure modes where no rule does: endpoint=URL and model=NAME, each with --judge; "
        "further settings are those of a teacher behind an endpoint",
    )
    analyse.add_argument(
        "--price",
        action="append",
        default=[],
        metavar="KIND=DOLLARS",
        help="what the teacher's endpoint takes for a million tokens: input=3, cached=0.3 and output=15, each with "
        "--price; kept with the run's analyses",
    )
    analyse.add_argument("--json", action="store_true", help="print the tables as JSON, and nothing else")
