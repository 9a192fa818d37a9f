"""The arguments of `turnmix tasks make` and of `turnmix tasks export`."""

from __future__ import annotations

import argparse


def add_making_arguments(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--from-repository", metavar="PATH", help="inject bugs that its own tests catch: HEAD, or a directory"
    )
    way.add_argument(
        "--from-revisions",
        nargs=3,
        metavar=("PATH", "OLD", "NEW"),
        help="each commit from OLD to NEW that makes a test pass: the old code, the new tests",
    )
    parser.add_argument("--output", required=True, metavar="FILE", help="the task file to write")
    parser.add_argument("--number", type=int, metavar="N", help="tasks at most (100)")
    parser.add_argument("--seed", type=int, metavar="N", help="other seeds inject other bugs (0)")
    parser.add_argument(
        "--python", metavar="DIR", help="a virtual environment with pytest and what the tests need (this one)"
    )
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="test files (every test_*.py, *_test.py)")
    parser.add_argument(
        "--pytest", metavar="WORDS", help="more arguments of pytest, as one word: '-o addopts='"
    )
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds of one run of the tests (300)")
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="candidates at one moment, on each worker if there are any (1)"
    )
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run the tests on workers of a Ray cluster: auto, local or host:port (this machine alone)",
    )
    parser.add_argument("--workers", type=int, metavar="N", help="how many, with --cluster (2)")
    parser.add_argument(
        "--issues-endpoint", metavar="URL", help="who writes the issues; a template if left out"
    )
    parser.add_argument("--issues-model", metavar="NAME", help="the model's name at that endpoint")


def add_task_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | key=value", help="a recipe and changes to it"
    )
    parser.add_argument("--output", required=True, metavar="DIR", help="where the directories are written")
    parser.add_argument(
        "--split", choices=("train", "holdout"), default="train", help="which tasks of the recipe (train)"
    )
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="tasks at most (100)")
    parser.add_argument(
        "--image",
        default="python:3.12-slim",
        metavar="NAME",
        help="of which theirs are made (python:3.12-slim)",
    )
    parser.add_argument(
        "--run",
        action="append",
        dest="command_lines",
        metavar="COMMAND",
        help="run in their images, as 'pip install pytest'; may be given several times",
    )
    parser.add_argument("--network", action="store_true", help="let the agent have a network")
