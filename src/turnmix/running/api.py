"""The public calls: the same as the commands, from Python. `import turnmix` offers them.

In: recipes as paths, bare names, mappings or `Recipe` objects. Out: a `Run` to be read. What a command tells as an
error is raised: a `TurnMixError`, each of whose `lines` is one line of the message.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from turnmix.analysis.failures.judge_settings import JudgeSettings
from turnmix.analysis.instruments import tables_of
from turnmix.analysis.table import Table
from turnmix.analysis.teacher_prices import TeacherPrices
from turnmix.core.credentials import keep_secrets_of, masked_text
from turnmix.core.errors import UserError
from turnmix.core.file_descriptors import raise_limit
from turnmix.core.redaction import own_secrets
from turnmix.core.terminal import show_printable
from turnmix.recipe.recipe import Recipe
from turnmix.running.analysed_checkpoints import Checkpoints
from turnmix.running.analysing import DEFAULT, HEADROOM_KINDS, analyse_run
from turnmix.running.analysis_settings import judge_settings, teacher_prices
from turnmix.running.comparing import Compared
from turnmix.running.comparing_targets import compare_targets
from turnmix.running.evaluation import evaluate_target
from turnmix.running.given_recipe import GivenRecipe, RecipeLike
from turnmix.running.reading import Run
from turnmix.running.reporter import Reporter
from turnmix.running.run_choice import resumed_recipe
from turnmix.running.sweep import Sweep, run_sweep
from turnmix.running.sweep_grid import given_comparison, output_of
from turnmix.running.training import begin_run, resume_run

PathLike = str | os.PathLike[str]


def load_recipe(recipe: RecipeLike, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe with every default filled in.

    In:
        recipe: a path, a bare name such as `minirepo_dagger`, or a mapping as a recipe file holds one.
        overrides: changes, each a text such as `learner.epochs=1`.

    Raises:
        RecipeError: a line for each mistake.
    """
    return GivenRecipe.of(recipe).load(overrides)


def train(
    recipe: RecipeLike | None = None,
    overrides: Sequence[str] = (),
    *,
    run: PathLike | None = None,
    resume: PathLike | Run | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a student by a recipe, or go on with a run that was stopped. As `turnmix train`, to the byte.

    In:
        recipe: see `load_recipe`. With `resume` it may be left out, or must be the run's own.
        overrides: changes to it.
        run: the directory of the run; left out, `runs/` and the recipe's name. A run of the same recipe that is there
            already goes on.
        resume: the run to go on with, in place of a recipe.
        reporter: who is told how far the run is; left out, standard output, or the notebook. `QuietReporter()` tells
            nobody.

    Raises:
        UserError: it cannot be run; nothing was begun.
        TurnMixError: it failed; the message says how to go on. Ctrl-C is a KeyboardInterrupt that says so too.
    """
    told = reporter or _console()
    with _in_own_process():
        if resume is not None:
            if run is not None:
                raise UserError("train: run and resume: a run goes on where it lies; leave run out")
            path = resume.path if isinstance(resume, Run) else Path(resume)
            given = None if recipe is None else GivenRecipe.of(recipe)
            return Run(resume_run(resumed_recipe(path, given, overrides), path, reporter=told).path)
        if recipe is None:
            raise UserError("train: give a recipe, such as 'minirepo_dagger', or a run with resume")
        given = GivenRecipe.of(recipe)
        loaded = given.load(overrides, say=told.note)
        done = begin_run(
            loaded,
            name=given.name,
            run=None if run is None else os.fspath(run),
            overrides=overrides,
            reporter=told,
        )
        return Run(done.path)


def evaluate(
    target: PathLike | Run,
    recipe: RecipeLike | None = None,
    overrides: Sequence[str] = (),
    *,
    output: PathLike | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Evaluate greedily, alone, on holdout tasks; or go on with an evaluation that was stopped. As `turnmix evaluate`.

    In:
        target: a run, whose last checkpoint is meant, a checkpoint, a model's directory or hub id; `teacher`, the
            recipe's teacher; or an endpoint's URL, as its teacher.
        recipe: by whose tasks and budgets; left out, those of the run. See `load_recipe`.
        overrides: changes to it.
        output: the directory of the evaluation; left out, in the run, or below `evaluations/`.
        reporter: see `train`.

    Out:
        The evaluation, whose `summary` holds the figures.

    Raises:
        UserError: it cannot be evaluated.
        TurnMixError: it failed; the message says that the same call goes on.
    """
    told = reporter or _console()
    with _in_own_process():
        done = evaluate_target(
            os.fspath(target.path if isinstance(target, Run) else target),
            given=None if recipe is None else GivenRecipe.of(recipe),
            overrides=overrides,
            output=None if output is None else os.fspath(output),
            reporter=told,
        )
        return Run(done.path)


def analyse(
    runs: PathLike | Run | Sequence[PathLike | Run],
    *,
    checkpoints: Checkpoints = "last",
    instruments: Sequence[str] = DEFAULT,
    num_tasks: int | None = None,
    headroom: Sequence[Sequence[str]] = HEADROOM_KINDS,
    judge: JudgeSettings | Mapping[str, Any] | None = None,
    prices: TeacherPrices | Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> list[Table]:
    """Look at what students do in the states that they visit themselves; or go on with it. As `turnmix analyse`.

    In:
        runs: a run, or several.
        checkpoints: `last`, `all`, or iterations; 0: the base student.
        instruments: of `divergence`, `accidents`, `headroom`, `gates`, `failures`, `teacher` and `scaling`.
        num_tasks: holdout tasks; left out, those analysed before, or as the recipe evaluates on.
        headroom: for that instrument, sets of kinds of steps that the expert takes over.
        judge: who names failure modes where no rule does: `{"endpoint": URL, "model": NAME}` and further settings of
            an endpoint; None: nobody is asked.
        prices: what the teachers' endpoint takes for a million tokens, `{"input": 3.0, "cached": 0.3, "output": 15.0}`;
            None: those kept with the run, if any.
        overrides: changes to the runs' recipes, such as `sandbox.kind=container`.
        reporter: see `train`.

    Out:
        Tables over all of them. `stored_analyses(run)` reads the trajectories behind them.

    Raises:
        UserError: one cannot be analysed.
        TurnMixError: it failed; the message says that the same call goes on.
    """
    told = reporter or _console()
    given = [runs] if isinstance(runs, str | os.PathLike | Run) else list(runs)
    who = judge if judge is None or isinstance(judge, JudgeSettings) else judge_settings(judge)
    said = prices if prices is None or isinstance(prices, TeacherPrices) else teacher_prices(prices)
    with _in_own_process():
        analyses = [
            analysis
            for run in given
            for analysis in analyse_run(
                run.path if isinstance(run, Run) else Path(run),
                checkpoints=checkpoints,
                instruments=instruments,
                num_tasks=num_tasks,
                headroom=headroom,
                judge=who,
                prices=said,
                overrides=overrides,
                reporter=told,
            )
        ]
        return tables_of(analyses, instruments)


def sweep(
    comparison: PathLike | Mapping[str, Any],
    overrides: Sequence[str] = (),
    *,
    output: PathLike | None = None,
    jobs: int = 1,
    reporter: Reporter | None = None,
) -> Sweep:
    """Run a comparison: each arm with each seed, in processes of their own; or go on with it. As `turnmix sweep`.

    In:
        comparison: a comparison file, or a mapping as one holds it; or a recipe, with lists in `overrides`.
        overrides: of a recipe: what differs, such as ["method=sft,dagger", "seed=0,1,2"], and what is changed alike.
        output: where the runs go; left out, `runs/` and the comparison's name.
        jobs: runs at a time.
        reporter: see `train`.

    Raises:
        UserError: it cannot be run; nothing was begun.
        TurnMixError: runs failed; the others are complete, and the same call goes on.
    """
    with _in_own_process():
        given = given_comparison(comparison, overrides)
        path = output_of(given) if output is None else Path(output)
        return run_sweep(
            given, output=path, jobs=jobs, again="the same call", reporter=reporter or _console()
        )


def compare(*targets: PathLike | Run | Sweep, outcomes: Sequence[str] = ()) -> Compared:
    """What runs come to, compared, computed anew from what they stored. As `turnmix compare`.

    In:
        targets: a sweep, its directory or its comparison file; or runs and evaluations, the first of which belongs to
            the arm that the others are compared with.
        outcomes: of runs: which; left out, all that was measured in each of them.

    Raises:
        UserError: there is nothing to compare, or something is damaged.
    """
    paths = [Path(each.path if isinstance(each, Run | Sweep) else each) for each in targets]
    return compare_targets(paths, outcomes)


def report(
    runs: PathLike | Run | Sequence[PathLike | Run],
    *,
    output: PathLike = "report.html",
    plots: PathLike | None = None,
) -> Path:
    """Write one HTML file of runs, evaluations or a sweep, to be looked at in a browser. As `turnmix report`.

    In:
        output: the file. A report that is there is replaced, anything else is not.
        plots: a directory for each plot as SVG and as PNG; left out, they are in the report alone.

    Out:
        Where the report lies.

    Raises:
        UserError: there is no run, one is damaged, or `output` is no place for a report.
    """
    from turnmix.running.reporting import write_report

    given = [runs] if isinstance(runs, str | os.PathLike | Run) else list(runs)
    paths = [each.path if isinstance(each, Run) else Path(each) for each in given]
    with _in_own_process():
        return write_report(paths, output=Path(output), plots=None if plots is None else Path(plots))


def _console() -> Reporter:
    from turnmix.viewing.console import ConsoleReporter

    return ConsoleReporter()


@contextmanager
def _in_own_process() -> Iterator[None]:
    """As a command of its own would be: the environment's keys are written and shown nowhere, what strangers wrote
    commands no terminal, and as many files may be open as this process may have."""
    with own_secrets():
        keep_secrets_of(os.environ)
        restore, lower = show_printable(cleaned=masked_text), raise_limit()
        try:
            yield
        finally:
            lower()
            restore()
