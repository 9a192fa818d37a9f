"""`turnmix grade`: a file of predictions in SWE-bench's format in; resolved k of n out, and a verdict a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.printable import printable_line
from turnmix.environments.patch_verdict import PatchDetails
from turnmix.evaluation.interval import wilson
from turnmix.running.grading import grade_file, verdicts_file, write_verdicts
from turnmix.viewing.console import ConsoleReporter, make_console, say


def grade_predictions(
    file: str, *, words: Sequence[str], again: bool = False, verdicts_in: str | None = None
) -> None:
    """Grade every prediction, print the sum, and write `FILE.verdicts.jsonl`.

    In:
        file: the predictions.
        words: a recipe or a task file, and changes.
        again: make also the verdicts that are in the book.
        verdicts_in: the directory of the book; None: the user's own.

    Raises:
        UserError: the file, the recipe or the task file will not do.
        InfrastructureError: a prediction could not be graded after all attempts.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if not names:
        raise UserError("name a recipe, or a task file, whose tasks the predictions are for")
    reporter, console = ConsoleReporter(), make_console()
    graded = grade_file(
        Path(file),
        name=names[0],
        overrides=overrides,
        again=again,
        verdicts_in=verdicts_in,
        reporter=reporter,
    )
    verdicts, failures, left = graded.verdicts, graded.failures, graded.left
    written = verdicts_file(Path(file))
    is_counted_only = graded.unfinished == "unresolved"
    for name, verdict in sorted(verdicts.items()):
        untried = "unfinished" if name in left and is_counted_only else "empty patch"
        details = PatchDetails.of(verdict)
        state = "resolved" if verdict.resolved else "unresolved" if details.submitted else untried
        counts = f"{details.passed} of {details.passed + details.failed} tests"
        unused = f"; not used: {', '.join(details.set_aside)}" if details.set_aside else ""
        say(console, printable_line(f"{name}: {state}, {counts}{unused}"))
    for name, reason in sorted(failures.items()):
        say(console, printable_line(f"{name}: not graded: {reason}"))
    resolved, number = sum(v.resolved for v in verdicts.values()), len(verdicts)
    low, high = wilson(resolved, number)
    if number:
        console.print(
            f"resolved: {resolved} of {number} = {resolved / number:.1%} ({low:.1%} – {high:.1%})",
            style="bold",
        )
    if left:
        became = (
            "count as unresolved: evaluation.unfinished=graded grades them"
            if is_counted_only
            else "were graded (evaluation.unfinished)"
        )
        say(console, f"{len(left)} unfinished, which {became}")
    if graded.found:
        told = f"{len(graded.found)} of {number} verdicts found in {graded.book}, and not made now"
        say(console, printable_line(f"{told}: --again makes them again"))
    if verdicts:
        write_verdicts(written, graded)
    say(
        console,
        printable_line(
            f"of {graded.num_tasks} tasks, {graded.num_predicted} were predicted; verdicts: {written}"
        ),
    )
    if failures:
        raise InfrastructureError(
            f"{len(failures)} of {graded.num_predicted} predictions could not be graded"
        )
