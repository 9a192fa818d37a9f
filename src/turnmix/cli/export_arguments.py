"""The options of `turnmix export`."""

from __future__ import annotations

from typing import Any

FORMS = ("messages", "inspect", "model")


def add_export(commands: Any) -> None:
    """`commands`: argparse's own, to which the command is added."""
    export = commands.add_parser(
        "export",
        help="write a run's trajectories, or its model, for other programs",
        usage="turnmix export RUN --to FORM [--output PATH] [--iteration N]\n"
        "                      [--labels] [--evaluations] [--resolved | --unresolved]\n"
        "                      [--adapter]",
        description="Write what a run or an evaluation holds in a form that other programs read: messages "
        "(OpenAI messages and tools, JSON lines, a row a trajectory or a label), inspect (logs for Inspect's "
        "viewer), or model (weights, tokenizer and a model card).",
        epilog="example: turnmix export runs/demo --to messages --resolved --output demo.jsonl",
    )
    export.add_argument("run", metavar="RUN", help="the directory of a run, or of an evaluation")
    export.add_argument("--to", required=True, choices=FORMS, metavar="FORM", help=", ".join(FORMS))
    export.add_argument("--output", metavar="PATH", help="where it goes; RUN's name here if left out")
    export.add_argument("--iteration", type=int, metavar="N", help="those of one iteration; its model")
    export.add_argument("--labels", action="store_true", help="a row for each label of the teacher")
    export.add_argument(
        "--evaluations", action="store_true", help="messages of evaluations, in place of rollouts"
    )
    judged = export.add_mutually_exclusive_group()
    judged.add_argument("--resolved", action="store_true", help="those that are resolved")
    judged.add_argument("--unresolved", action="store_true", help="those that are judged and not resolved")
    export.add_argument("--adapter", action="store_true", help="of a model: its LoRA adapter alone")
