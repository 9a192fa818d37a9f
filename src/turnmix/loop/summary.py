"""The figures of a run so far, from what its finished stages recorded: the content of `summary.json`."""

from __future__ import annotations

from typing import Any

from turnmix.recipe.recipe import Recipe
from turnmix.store.run_directory import RunDirectory, stage_id

STAGES = ("rollout", "train", "evaluate")


def summary_of(recipe: Recipe, run: RunDirectory) -> dict[str, Any]:
    """A figure not there yet is null; `is_complete` says whether the run has ended."""
    iterations = [
        _iteration(run, iteration)
        for iteration in range(1, recipe.iterations + 1)
        if run.stage_metrics("rollout", iteration) is not None
    ]
    last = "evaluate" if recipe.evaluation.tasks else "train"
    return {
        "method": recipe.method,
        "seed": recipe.seed,
        "is_complete": run.stage_metrics(last, recipe.iterations) is not None,
        "base": _evaluation(run, 0),
        "iterations": iterations,
        "drift": _total(iterations, "drift", ("turns", "differing")),
        "control_texts": _total(iterations, "control_texts", ("as_text", "as_tokens")),
        "wall_seconds": round(run.clock.wall_seconds, 3),
    }


def _iteration(run: RunDirectory, iteration: int) -> dict[str, Any]:
    rollout = run.stage_metrics("rollout", iteration) or {}
    train = run.stage_metrics("train", iteration) or {}
    from_rollout = (
        "beta",
        "realised_beta",
        "realised_beta_tokens",
        "rollouts",
        "resolved",
        "submitted",
        "infra_errors",
        "usage",
        "drift",
        "teacher",
        "control_texts",
        "tool_faults",
    )
    from_train = (
        "kept",
        "realised_beta_kept",
        "labels",
        "untaught",
        "label_tokens",
        "logprobs_missing",
        "scoring_usage",
        "dropped_too_long",
        "passes",
        "loss",
        "objective",
    )
    return {
        "iteration": iteration,
        **{name: rollout.get(name) for name in from_rollout},
        **{name: rollout[name] for name in ("accidents", "workers") if name in rollout},
        **{name: train.get(name) for name in from_train},
        "eval": _evaluation(run, iteration),
        "seconds": {stage: run.clock.stage_seconds(stage_id(stage, iteration)) for stage in STAGES},
    }


def _total(iterations: list[dict[str, Any]], figure: str, names: tuple[str, ...]) -> dict[str, int]:
    """What was counted in each iteration, of the whole run."""
    counted = [row[figure] for row in iterations if row[figure] is not None]
    return {name: sum(counts.get(name, 0) for counts in counted) for name in names}


def _evaluation(run: RunDirectory, iteration: int) -> dict[str, Any] | None:
    figures = run.stage_metrics("evaluate", iteration)
    if figures is None:
        return None
    return {name: value for name, value in figures.items() if name not in ("id", "iteration", "stage")}
