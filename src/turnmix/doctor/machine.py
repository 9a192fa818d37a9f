"""What the machine has: packages, disk, memory of its GPUs, against what the recipe needs."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnmix.core.finding import Finding
from turnmix.doctor.gpus import Gpu, left_by_server, read_gpus
from turnmix.doctor.memory import LORA_SHARE, ModelSize, largest_pass, learning_bytes, serving_bytes, size_of
from turnmix.doctor.models import cached_file
from turnmix.environments.repositories.source import preparation
from turnmix.methods.registry import find_method
from turnmix.policies.server.card import told_share
from turnmix.recipe.recipe import Recipe
from turnmix.training.learner_settings import LearnerSettings

GIGABYTE = 1e9
WEIGHT_BYTES, STATE_BYTES = 4, 8
"""A parameter's share of a checkpoint: the weight, and AdamW's two moments, where it is learned."""
USABLE = 0.97
"""Of a card's memory: its driver and the context of each process take the rest."""


def check_packages(recipe: Recipe) -> Iterator[Finding]:
    for package, extra, purpose in _needed(recipe):
        if importlib.util.find_spec(package) is None:
            detail = f"{purpose} needs the package {package}: pip install 'turnmix[{extra}]'"
            yield Finding(subject=package, passed=False, detail=detail)
        else:
            yield Finding(subject=package, passed=True, detail=f"{package} is installed, for {purpose}")
    yield from _compilers(recipe)


def _compilers(recipe: Recipe) -> Iterator[Finding]:
    """A GPU's attention is compiled where it runs, by triton, which compiles what starts it in C."""
    if "cuda" not in recipe.student.device or is_for_evaluation(recipe):
        return
    if importlib.util.find_spec("triton") is None:
        detail = (
            "learning on a GPU compiles its attention with triton: install the triton that your torch names"
        )
        yield Finding(subject="triton", passed=False, detail=detail)
    compilers = [os.environ.get("CC"), "cc", "gcc", "clang"]
    found = next((name for name in compilers if name and shutil.which(name)), None)
    remedy = "none is found: sudo apt-get install gcc, or set CC" if found is None else f"{found} is found"
    detail = f"learning on a GPU compiles its attention, which needs a C compiler; {remedy}"
    yield Finding(subject="compiler", passed=found is not None, detail=detail)


def _needed(recipe: Recipe) -> Iterator[tuple[str, str, str]]:
    if recipe.sandbox.kind == "container":
        yield "docker", "containers", "sandbox.kind = container"
    if preparation(recipe.tasks) is not None:
        yield "datasets", "swe", "tasks.dataset"
        yield "swebench", "swe", "grading"
    if recipe.learner.lora is not None:
        yield "peft", "lora", "learner.lora"


def check_disk(recipe: Recipe, *, runs: Path = Path("runs"), num_written: int = 0) -> Iterator[Finding]:
    """`runs`: where the run's directory goes; `num_written`: of its checkpoints, those that are there."""
    size = size_of_model(recipe.student.model)
    place = runs.resolve()
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free
    if is_for_evaluation(recipe):
        detail = f"{_room(free)} free in {place}; nothing is trained, so no checkpoint is written"
        yield Finding(subject="runs", passed=True, detail=detail)
        return
    if size is None:
        detail = f"{_room(free)} free in {place}; what student.model takes is not known"
        yield Finding(subject="runs", passed=None, detail=detail)
        return
    num_checkpoints, keep = recipe.iterations - num_written, recipe.checkpoints.keep
    if keep is not None:
        # One more than stays: the next is written before the oldest is deleted.
        num_checkpoints = min(num_checkpoints, keep + 1 - min(num_written, keep))
    # The last one's stays, and the next is written before it is deleted.
    num_states = min(recipe.iterations - num_written, 2 - min(num_written, 1))
    learned = size.parameters * (1 if recipe.learner.lora is None else LORA_SHARE)
    needed = WEIGHT_BYTES * size.parameters * num_checkpoints + STATE_BYTES * learned * num_states
    detail = (
        f"{_room(free)} free in {place}; {num_checkpoints} checkpoint{'' if num_checkpoints == 1 else 's'} and "
        f"{num_states} optimiser state{'' if num_states == 1 else 's'} take some {_room(needed)}"
    )
    is_enough = free > needed
    remedy = "" if is_enough else ": make room, or let runs be a link to another disk"
    yield Finding(subject="runs", passed=is_enough, detail=detail + remedy)


def _room(num_bytes: float) -> str:
    """
    >>> _room(4_194_304), _room(17.8e9), _room(40_000e9)
    ('4 MB', '17.8 GB', '40,000 GB')
    """
    if num_bytes < GIGABYTE:
        return f"{num_bytes / 1e6:,.0f} MB"
    return f"{num_bytes / GIGABYTE:,.{0 if num_bytes > 100 * GIGABYTE else 1}f} GB"


def check_memory(recipe: Recipe) -> Iterator[Finding]:
    """Printed also where there is no GPU: an estimate tells which machine to ask for."""
    student = recipe.student
    gpus = read_gpus()
    needs = _needs(recipe, gpus)
    estimate = "what student.model takes is not known" if needs is None else needs.words(num_ranks=1)
    server = student.server
    if "cuda" not in student.device and server and server.endpoint is None and server.engine == "vllm":
        has_card = bool(gpus) or None  # there are builds of vLLM for CPUs
        detail = "student.server starts vLLM, which takes a GPU, if it is not one for CPUs"
        yield Finding(subject="gpu", passed=has_card, detail=f"{detail}; {estimate}")
        return
    if "cuda" not in student.device:
        yield Finding(
            subject="gpu", passed=True, detail=f"student.device = {student.device}: no GPU needed; {estimate}"
        )
        return
    if not gpus:
        detail = f"no GPU answers nvidia-smi; {estimate}: run it on a machine that has that"
        yield Finding(subject="gpu", passed=False, detail=detail)
        return
    sizes = ", ".join(f"{gpu.total / GIGABYTE:.0f}" for gpu in gpus)
    found = f"{len(gpus)} GPU{'s' * (len(gpus) > 1)} of {sizes} GB"
    if needs is None:
        yield Finding(subject="gpu", passed=None, detail=f"{found}; {estimate}")
    else:
        yield _fit(needs, [gpu.total for gpu in left_by_server(recipe, gpus)[0]], found)
    if busy := [gpu.index for gpu in gpus if gpu.free < 0.9 * gpu.total]:
        note = f"GPU {busy[0]} is in use by another program"
        yield Finding(subject="gpu", passed=None, detail=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Needs:
    """What lies on the card of the first process."""

    size: ModelSize
    learner: LearnerSettings | None
    """None: nothing is trained."""
    acts_here: bool
    """No server acts for the student."""
    rows: int
    """Of the largest pass."""
    others: dict[str, float]
    """Bytes, by what for."""

    def parts(self, num_ranks: int) -> dict[str, float]:
        if (learner := self.learner) is None:
            return self.others
        needed = learning_bytes(
            self.size,
            is_lora=learner.lora is not None,
            tokens=self.rows,
            is_checkpointing=learner.gradient_checkpointing,
            dtype=learner.dtype,
            num_ranks=num_ranks,
            acts_here=self.acts_here,
        )
        return {f"to learn in passes of {self.rows:,} rows": needed, **self.others}

    def words(self, num_ranks: int) -> str:
        parts = self.parts(num_ranks).items()
        listed = ", ".join(f"{needed / GIGABYTE:,.1f} GB {purpose}" for purpose, needed in parts)
        where = f" on each of {num_ranks} cards" if num_ranks > 1 else ""
        return (
            f"estimate for {self.size.parameters / 1e9:.2g} B parameters{where}: {listed or 'nothing here'}"
        )


def _fit(needs: _Needs, cards: list[float], found: str) -> Finding:
    """Each process has one card, so the smallest decides, and never their sum."""
    if not cards:
        detail = f"{found}, all of them the student's server's: leave one out of its CUDA_VISIBLE_DEVICES"
        return Finding(subject="gpu", passed=False, detail=f"{detail}; {needs.words(num_ranks=1)}")
    launched = int(os.environ.get("WORLD_SIZE", "0"))
    numbers = [launched] if launched else range(1, len(cards) + 1)
    for num_ranks in numbers:
        if sum(needs.parts(num_ranks).values()) <= USABLE * min(cards):
            start = f": start it with torchrun --nproc-per-node {num_ranks}"
            hint = start if num_ranks > 1 and not launched else ""
            return Finding(subject="gpu", passed=True, detail=f"{found}; {needs.words(num_ranks)}{hint}")
    remedy = "take larger cards or more of them (torchrun)"
    if needs.learner is not None:
        remedy += ", or set learner.lora={}, learner.gradient_checkpointing=true, learner.dtype=bfloat16, or a smaller "
        remedy += (
            "learner.max_context" if needs.rows > needs.learner.tokens_per_pass else "learner.tokens_per_pass"
        )
    return Finding(subject="gpu", passed=False, detail=f"{found}; {needs.words(numbers[-1])}: {remedy}")


def _needs(recipe: Recipe, gpus: list[Gpu]) -> _Needs | None:
    size = size_of_model(recipe.student.model)
    if size is None:
        return None
    student, teacher = recipe.student, recipe.teacher.model_here
    others: dict[str, float] = {}
    is_trained = not is_for_evaluation(recipe)
    if is_trained and teacher is not None and (teacher_size := size_of_model(teacher.model)):
        others["for the teacher"] = serving_bytes(teacher_size, teacher.dtype)
    elif not is_trained and student.server is None:
        others["for the student"] = serving_bytes(size, student.dtype)
    if student.server is not None and student.server.endpoint is None:
        is_shared = left_by_server(recipe, gpus)[1]
        if is_shared or not is_trained:
            share = told_share(student.server.arguments)
            needed = serving_bytes(size, student.dtype)
            if share and gpus:
                needed = share * min(gpu.total for gpu in gpus)
            others["to serve the student"] = needed
    return _Needs(
        size=size,
        learner=recipe.learner if is_trained else None,
        acts_here=student.server is None,
        rows=largest_pass(
            recipe.learner,
            conversation=recipe.longest_context,
            has_labels=find_method(recipe.method).label is not False,
        ),
        others=others,
    )


def is_for_evaluation(recipe: Recipe) -> bool:
    """Whether nothing is trained."""
    return recipe.tasks.is_for_evaluation


def size_of_model(model: str) -> ModelSize | None:
    """By what of it is on the disk, else by its name."""
    return size_of(model, cached_file(model, "config.json"))
