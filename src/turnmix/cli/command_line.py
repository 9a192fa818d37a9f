# PYTHON_ARGCOMPLETE_OK
"""Words in, exit code out: 0 done, 1 the run failed or was stopped, 2 the user's mistake."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from turnmix.cli.parser import MISTAKEN, parsed
from turnmix.core.credentials import keep_secrets_of, masked_text
from turnmix.core.errors import TurnMixError, UserError
from turnmix.core.file_descriptors import raise_limit
from turnmix.core.redaction import own_secrets
from turnmix.core.terminal import show_printable, tell

DONE, FAILED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    secrets = own_secrets()
    secrets.__enter__()
    keep_secrets_of(os.environ)
    restore = show_printable(cleaned=masked_text)
    lower = raise_limit()
    try:
        return _main(list(sys.argv[1:] if arguments is None else arguments))
    finally:
        # Of a program the last words, such as an error that nobody caught, come after this.
        if arguments is not None:
            lower()
            restore()
            secrets.__exit__(None, None, None)


def _main(given: list[str]) -> int:
    try:
        options = parsed(given)
        with _terminated_as_interrupted():
            return _run(options)
    except UserError as error:
        _tell(error)
        return MISTAKEN
    except TurnMixError as error:
        _tell(error)
        return FAILED
    except KeyboardInterrupt as stop:
        tell(f"turnmix: {str(stop) or 'stopped'}")
        return FAILED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; what is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        from turnmix.running.continuation import failure_text

        tell(f"turnmix: {failure_text(error)}")
        return FAILED


def _tell(error: TurnMixError) -> None:
    first, *further = error.lines
    tell(f"turnmix: {first}")
    for line in further:
        tell(line)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends a command as Ctrl-C does: nothing is lost, and sandboxes and servers end with it."""

    def terminate(*_: object) -> None:
        # Shells start with SIGINT ignored what is to run in the background.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    previous = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(options: argparse.Namespace) -> int:
    if options.command == "train":
        from turnmix.cli.train import train
        from turnmix.recipe.explanation import explained_yaml
        from turnmix.recipe.recipe import recipe_yaml

        printed = explained_yaml if options.explain else recipe_yaml if options.dry_run else None
        train(
            words=options.words,
            run=options.run,
            resume=options.resume,
            printed=printed,
            says_what_is_missing=options.dry_run,
        )
    elif options.command == "gateway":
        from turnmix.cli.gateway import gateway

        gateway(words=options.words, run=options.run, host=options.host, port=options.port)
    elif options.command == "evaluate":
        from turnmix.cli.evaluate import evaluate

        evaluate(options.target, words=options.words, output=options.output)
    elif options.command == "analyse":
        from turnmix.cli.analyse import analyse

        analyse(
            options.words,
            checkpoints=options.checkpoints,
            num_tasks=options.tasks,
            instruments=options.instruments,
            headroom=options.headroom,
            judge=options.judge,
            prices=options.price,
            is_json=options.json,
        )
    elif options.command == "show":
        from turnmix.cli.show import show_run, show_trajectory

        if options.trajectory is None:
            from turnmix.viewing.trajectory_choice import Choice

            choice = Choice(
                is_resolved=True if options.resolved else False if options.unresolved else None,
                iteration=options.iteration,
                stop_reason=options.stop_reason,
                task=options.task,
            )
            show_run(options.run, choice, limit=options.limit)
        else:
            show_trajectory(options.run, options.trajectory, is_full=options.full)
    elif options.command == "export":
        from turnmix.cli.export import export

        export(options)
    elif options.command == "sweep":
        from turnmix.cli.sweep import sweep

        sweep(options.words, output=options.output, jobs=options.jobs)
    elif options.command == "compare":
        from turnmix.cli.compare import compare

        compare(
            options.targets,
            outcomes=[name.strip() for name in options.outcomes.split(",") if name.strip()],
            is_json=options.json,
        )
    elif options.command == "runs":
        from turnmix.cli.runs import show_runs

        show_runs(options.directory, is_json=options.json)
    elif options.command == "report":
        from turnmix.cli.report import report

        report(options.runs, output=options.output, plots=options.plots)
    elif options.command == "tasks make":
        from turnmix.cli.make_tasks import make_tasks

        make_tasks(options)
    elif options.command == "tasks export":
        from turnmix.cli.export_tasks import export_tasks

        export_tasks(options)
    elif options.command == "tasks prepare":
        from turnmix.cli.prepare_tasks import prepare_tasks

        prepare_tasks(options.words, is_pulling=options.pull)
    elif options.command == "grade":
        from turnmix.cli.grade import grade_predictions

        grade_predictions(
            options.file, words=options.words, again=options.again, verdicts_in=options.verdicts
        )
    elif options.command == "exec":
        from turnmix.cli.run_in_sandbox import run_in_sandbox

        return run_in_sandbox(options.line, seconds=options.timeout)
    elif options.command == "doctor":
        from turnmix.cli.doctor import examine

        return DONE if examine(options.words) else FAILED
    else:
        from turnmix.cli.tasks import show_tasks

        show_tasks(options.words, limit=options.limit)
    return DONE
