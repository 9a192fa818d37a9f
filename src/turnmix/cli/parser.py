"""What may stand on the command line: commands, options, words. What is none of them ends the process with one line."""

from __future__ import annotations

import argparse
import os
from typing import NoReturn

import turnmix
from turnmix.cli.analyse_arguments import add_analyse
from turnmix.cli.comparing_arguments import add_comparing
from turnmix.cli.export_arguments import add_export
from turnmix.cli.making_arguments import add_making_arguments, add_task_export_arguments
from turnmix.cli.report_arguments import add_report
from turnmix.core.terminal import tell

MISTAKEN = 2
"""The exit code of the user's mistake."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.mistaken(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")

    def mistaken(self, message: str) -> NoReturn:
        tell(f"turnmix: {message}")
        self.exit(MISTAKEN)


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser, and those of its commands."""
    parser = Parser(prog="turnmix", description="Train LLM agents in the states that they will really visit.")
    parser.add_argument("--version", action="version", version=f"turnmix {turnmix.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)

    train = commands.add_parser(
        "train",
        help="train a student by a recipe",
        usage="turnmix train RECIPE [key=value ...] [--run DIR] [--dry-run | --explain]\n"
        "       turnmix train --resume RUN",
        description="Train a student by a recipe, or go on with a run that was stopped.",
        epilog="example: turnmix train minirepo_dagger learner.epochs=1 --run runs/first",
    )
    train.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | key=value", help="a recipe and changes to it"
    )
    train.add_argument("--run", metavar="DIR", help="where the run goes; runs/RECIPE if left out")
    train.add_argument("--resume", metavar="RUN", help="go on with the run in this directory")
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="print the recipe with every default, say what is missing here, do nothing",
    )
    train.add_argument(
        "--explain",
        action="store_true",
        help="the same, with what each setting means and may be as comments",
    )

    gateway = commands.add_parser(
        "gateway",
        help="roll out through scaffolds that start themselves",
        usage="turnmix gateway RECIPE [key=value ...] [--run DIR] [--host HOST]\n"
        "                       [--port N]\n"
        "       turnmix gateway --run RUN [--host HOST] [--port N]",
        description="Serve student and teacher as one model, by HTTP, to scaffolds of your own, until the next "
        "iteration of a run has its trajectories. The same command goes on with one that was stopped.",
        epilog="example: turnmix gateway my_recipe.yaml --run runs/first --port 8642",
    )
    gateway.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | key=value", help="a recipe and changes to it"
    )
    gateway.add_argument("--run", metavar="DIR", help="where the run goes, or lies; runs/RECIPE if left out")
    gateway.add_argument(
        "--host",
        metavar="HOST",
        help="where it listens: 127.0.0.1 if left out; others need TURNMIX_GATEWAY_KEY",
    )
    gateway.add_argument("--port", type=int, metavar="N", help="8642 if left out; 0: any that is free")

    evaluate = commands.add_parser(
        "evaluate",
        help="evaluate a run's student or any model on holdout tasks",
        usage="turnmix evaluate RUN_OR_MODEL [RECIPE] [key=value ...] [--output DIR]",
        description="Evaluate the last checkpoint of a run, one checkpoint, or any model (which needs a "
        "recipe): greedily, alone, on holdout tasks. The same command goes on with one that was stopped.",
    )
    evaluate.add_argument(
        "target",
        metavar="RUN_OR_MODEL",
        help="a run, a checkpoint, a model's directory or hub id, teacher, or the URL of an endpoint",
    )
    evaluate.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | key=value", help="a recipe and changes to it"
    )
    evaluate.add_argument(
        "--output",
        metavar="DIR",
        help="where its trajectories and figures go; in RUN/evaluations, or in evaluations, if left out",
    )

    show = commands.add_parser(
        "show",
        help="show a run's figures, or one trajectory",
        usage="turnmix show RUN [--resolved | --unresolved] [--iteration N]\n"
        "                    [--stop-reason REASON] [--task TEXT] [--limit N]\n"
        "       turnmix show RUN TRAJECTORY [--full]",
        description="Show a run's figures and a sample of its newest trajectories, in their proportions; those "
        "that you ask for; or one.",
        epilog="example: turnmix show runs/demo --unresolved --iteration 4",
    )
    show.add_argument("run", metavar="RUN", help="the directory of a run, or of an evaluation")
    show.add_argument("trajectory", nargs="?", metavar="TRAJECTORY", help="an id, such as i001-00003")
    show.add_argument("--full", action="store_true", help="fold nothing")
    judged = show.add_mutually_exclusive_group()
    judged.add_argument("--resolved", action="store_true", help="list those that are resolved")
    judged.add_argument(
        "--unresolved", action="store_true", help="list those that are judged and not resolved"
    )
    show.add_argument(
        "--iteration", type=int, metavar="N", help="list those of one iteration; 0: the base student's"
    )
    show.add_argument("--stop-reason", metavar="REASON", help="list those that ended so, such as max_turns")
    show.add_argument("--task", metavar="TEXT", help="list those whose task's id holds this")
    show.add_argument("--limit", type=int, metavar="N", help="list so many (8; of those asked for, 50)")

    add_export(commands)
    add_analyse(commands)
    add_comparing(commands)
    add_report(commands)

    tasks = commands.add_parser(
        "tasks",
        help="list the tasks of a recipe, or print one",
        usage="turnmix tasks RECIPE [ID] [key=value ...] [--limit N]\n"
        "       turnmix tasks make --from-repository PATH --output FILE\n"
        "       turnmix tasks make --from-revisions PATH OLD NEW --output FILE\n"
        "       turnmix tasks prepare RECIPE [key=value ...] [--pull]\n"
        "       turnmix tasks export RECIPE --output DIR [key=value ...]",
        description="List the tasks of a recipe, or print one with what its agent is told.",
    )
    tasks.add_argument("words", nargs="+", metavar="RECIPE | ID | key=value", help="a recipe, a task's id")
    tasks.add_argument("--limit", type=int, default=20, metavar="N", help="tasks listed of each split (20)")
    make = commands.add_parser(
        "tasks make",
        help="make tasks of your own code",
        usage="turnmix tasks make --from-repository PATH --output FILE ...\n"
        "       turnmix tasks make --from-revisions PATH OLD NEW --output FILE ...",
        description="Make tasks of your own code, with the tests that must turn measured by running them: of "
        "bugs injected into a repository, or of a git repository's own history.",
        epilog="example: turnmix tasks make --from-repository . --output tasks.jsonl --number 50",
    )
    add_making_arguments(make)
    prepare = commands.add_parser(
        "tasks prepare",
        help="write the task file of a published set",
        usage="turnmix tasks prepare RECIPE [key=value ...] [--pull]",
        description="Fetch the rows of the recipe's tasks.dataset, write them to its tasks.path, and look for "
        "their images. Nothing that follows needs a network but fetching images.",
    )
    prepare.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | key=value", help="a recipe and changes to it"
    )
    prepare.add_argument("--pull", action="store_true", help="fetch all images now")
    export_tasks = commands.add_parser(
        "tasks export",
        help="write tasks as Harbor task directories",
        usage="turnmix tasks export RECIPE --output DIR [key=value ...]\n"
        "                            [--split SPLIT] [--limit N] [--image NAME]\n"
        "                            [--run COMMAND] [--network]",
        description="Write tasks of minirepo, or of your own code, as directories that Harbor's own runner takes.",
        epilog="example: turnmix tasks export minirepo_sft --output harbor_tasks --limit 10",
    )
    add_task_export_arguments(export_tasks)

    grade = commands.add_parser(
        "grade",
        help="grade patches in SWE-bench's format",
        usage="turnmix grade FILE RECIPE_OR_TASK_FILE [options] [key=value ...]",
        description="Grade a file of predictions, whoever made it: one JSON line a task, with instance_id, "
        "model_name_or_path and model_patch. Verdicts that you made before are kept for you and not made again; "
        "what lies beside the file is not read.",
    )
    grade.add_argument("file", metavar="FILE", help="the predictions")
    grade.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | TASK_FILE | key=value", help="whose tasks they are"
    )
    grade.add_argument(
        "--again", action="store_true", help="make also the verdicts again that you made before"
    )
    grade.add_argument(
        "--verdicts",
        metavar="DIRECTORY",
        help="keep verdicts here, and take those that lie here as made by you",
    )

    doctor = commands.add_parser(
        "doctor",
        help="check, in seconds, whether a recipe can run here",
        usage="turnmix doctor RECIPE [key=value ...]",
        description="Check endpoints, models, containers, images, disk, memory and tasks of a recipe before "
        "anything long. Each line says ok, or what to do; the exit code is 1 if any fails.",
    )
    doctor.add_argument(
        "words", nargs="*", default=[], metavar="RECIPE | key=value", help="a recipe and changes to it"
    )

    execute = commands.add_parser(
        "exec",
        help="run a command in the sandbox of a scaffold's task",
        usage="turnmix exec [--timeout SECONDS] -- COMMAND",
        description="Run a command in the task's sandbox, for a scaffold of your own that runs outside of it "
        "(rollouts.scaffold.where=outside). The exit code is the command's; 124: its time was over.",
        epilog="example: turnmix exec -- python -m pytest -q",
    )
    execute.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS", help="its time (120)")
    execute.add_argument("line", nargs=argparse.REMAINDER, metavar="COMMAND", help="a program and its words")
    return parser, commands.choices


def parsed(given: list[str]) -> argparse.Namespace:
    """The options and words of one command; what is none of them ends the process with one line."""
    parser, commands = make_parser()
    if "_ARGCOMPLETE" in os.environ:
        from turnmix.cli.shell_completion import offer_completions

        offer_completions(parser, commands)
    if given[:1] == ["help"]:
        given = [*given[1:], "--help"]
    if not given:
        given = ["--help"]
    if given[:2] in (["tasks", "make"], ["tasks", "prepare"], ["tasks", "export"]):
        given[:2] = [" ".join(given[:2])]
    if given[0] not in commands and not given[0].startswith("-"):
        from turnmix.cli.command_mistakes import command_mistake, named_choices

        parser.mistaken(command_mistake(given[0], named_choices(commands)))
    if given[0].startswith("-") and given[0] not in parser._option_string_actions:
        parser.mistaken(
            f"unknown argument {given[0]!r}: options stand behind a command; see `turnmix --help`"
        )
    options, further = parser.parse_known_args(given)
    # argparse gives up on words that come after an option.
    unknown = [word for word in further if word.startswith("-")]
    if unknown:
        from turnmix.cli.command_mistakes import option_mistake

        behind = given[given.index(unknown[0]) + 1 :][:1]
        value = behind[0] if behind and not behind[0].startswith("--") else None
        command = options.command
        told = option_mistake(unknown[0], command=command, value=value, parser=commands[command])
        parser.mistaken(told)
    several = next((name for name in ("words", "runs") if hasattr(options, name)), None)
    if further and several is None:
        parser.error(f"unknown argument {further[0]!r}")
    if further and several is not None:
        setattr(options, several, [*getattr(options, several), *further])
    return options
