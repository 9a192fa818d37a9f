"""`turnmix doctor`: a recipe in; a line for each check out, which says ok, or what to do."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from turnmix.cli.arguments import names_and_overrides
from turnmix.core.errors import UserError
from turnmix.core.printable import printable_line
from turnmix.doctor.checks import run_checks
from turnmix.recipe.recipe import load_recipe
from turnmix.viewing.console import make_console, say_note

STATES = {True: ("ok", "green"), False: ("FAIL", "bold red"), None: ("note", "yellow")}


def examine(words: Sequence[str]) -> bool:
    """Print the findings. Returns whether none failed.

    Raises:
        UserError: no recipe is named, or it is none.
    """
    names, overrides = names_and_overrides(words, at_most=1)
    if not names:
        raise UserError("name a recipe, such as recipes/swe_gym_qwen3_4b_dagger.yaml")
    recipe = load_recipe(names[0], overrides, say=say_note)
    console = make_console()
    failed = 0
    for name, finding in run_checks(recipe):
        word, style = STATES[finding.passed]
        failed += finding.passed is False
        line = Text(f"{word:<5}", style=style)
        subject = f"{name}, {finding.subject}: " if finding.subject != name else f"{name}: "
        line.append(printable_line(subject), style="bold")
        detail = " ".join(finding.detail.replace("RECIPE", names[0]).split())
        line.append(printable_line(detail), style="default")
        # A terminal folds between words; elsewhere a line is found and copied whole.
        console.print(line, soft_wrap=not console.is_terminal)
    told = f"{failed} to mend" if failed else "nothing stands in the way"
    console.print(told, style="bold")
    return not failed
