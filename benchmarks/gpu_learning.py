"""The steps of the record that learn: with LoRA, on all weights, and as one rank of two."""

import random
import time
from dataclasses import replace

import torch
from gpu_shapes import (
    compilations,
    matrix_product_rate,
    peak_gigabytes,
    qwen3_4b,
    random_model,
    reset_peak,
    rollout_of,
    rounded,
    small_qwen3,
)

from turnmix.core.errors import TrainingError, UserError
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.doctor.memory import ModelSize, learning_bytes
from turnmix.training import architecture
from turnmix.training import learner as learner_module
from turnmix.training.batching import model_cost
from turnmix.training.learner import Learner
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.ranks import Ranks
from turnmix.training.tree import build_tree

PEAK_SHARE = 0.7
"""An estimate more than that much above what was needed sends people to larger machines for nothing."""


class StoredRenderer:
    """Renders the transitions that it was given: a message names their place."""

    def __init__(self, rendered):
        self._rendered = rendered

    def prompt_ids(self, state):
        return list(self._rendered[int(state.messages[0].content)].prompt_ids)

    def target_ids(self, state, action):
        return list(self._rendered[int(state.messages[0].content)].target_ids)

    def transitions(self, *, places=None, trajectory="a", weight=1.0):
        return [
            Transition(
                state=State(messages=(Message(role="user", content=str(place)),), tools=()),
                target=Action(message=Message(role="assistant", content="")),
                weight=weight,
                trajectory_id=trajectory,
                task_id="t",
            )
            for place in (range(len(self._rendered)) if places is None else places)
        ]


def model_of(device):
    return random_model(qwen3_4b() if device == "cuda" else small_qwen3(), device)


def size_of(model):
    config = model.config
    return ModelSize(
        parameters=float(sum(parameter.numel() for parameter in model.parameters())),
        hidden=config.hidden_size,
        layers=config.num_hidden_layers,
        vocabulary=config.vocab_size,
    )


def estimated(size, num_rows, *, is_lora=False, num_ranks=1):
    return learning_bytes(
        size,
        is_lora=is_lora,
        tokens=num_rows,
        is_checkpointing=True,
        dtype="bfloat16",
        num_ranks=num_ranks,
    )


def settings_of(device, num_rows, **changes):
    return LearnerSettings(
        learning_rate=1e-5,
        epochs=2,
        batch_size=1,
        dtype="bfloat16" if device == "cuda" else "float32",
        tokens_per_pass=num_rows,
        gradient_checkpointing=True,
        **changes,
    )


def probe(record, model):
    """Is the model exact on trees, by the learner's own probe? Where it says no the record goes on without it."""
    try:
        began = time.monotonic()
        difference = architecture._probe(model)
        bound = architecture.PROBE_TOLERANCE
        record(
            part="architecture probe",
            difference=rounded(difference),
            seconds=rounded(time.monotonic() - began),
            passed=difference <= bound,
            decides=f"logits on a tree at most {bound} from those on its paths",
        )
        architecture.check_architecture(model)
    except (Exception, UserError):
        record.error("architecture probe")
        learner_module.check_architecture = lambda model: None


def rendered(num_rows, model, seed):
    return rollout_of(num_rows).transitions(model.config.vocab_size, seed=seed)


def measure(record, learner, device, part, num_rows, **work):
    """As `_measure`; a size that fails is recorded, and the next one begins."""
    try:
        _measure(record, learner, device, part, num_rows, **work)
    except Exception:
        record.error(part)
        learner._optimizer.zero_grad()


def _measure(record, learner, device, part, num_rows, *, estimate, work_factors, rate):
    """Two optimiser steps on one tree; memory, seconds and FLOP of the second."""
    items = rendered(num_rows, learner.model, seed=num_rows)
    learner._renderer = StoredRenderer(items)
    tree = build_tree(items)
    transitions = learner._renderer.transitions(trajectory=part)
    stamps, reports = [time.monotonic()], []

    def on_step(report):
        stamps.append(time.monotonic())
        reports.append(report)

    reset_peak(device)
    learner.fit(transitions, generator=random.Random(0), on_step=on_step)
    allocated, reserved = peak_gigabytes(device)
    taken = stamps[2] - stamps[1]
    cost = learner._cost
    pairs = int(tree.position_ids.sum()) + len(tree)
    parts = cost.per_row * len(tree), cost.per_pair * pairs, cost.per_label * len(tree.label_rows)
    work = 2 * sum(each * factor for each, factor in zip(parts, work_factors, strict=True))
    figures = {
        "rows": len(tree),
        "labels": tree.num_labels,
        "first_step_seconds": rounded(stamps[1] - stamps[0]),
        "step_seconds": rounded(taken),
        "rows_per_second": rounded(len(tree) / taken),
        "counted_tflops": rounded(work / taken / 1e12),
        "share_of_matrix_product": rounded(work / taken / rate),
        "peak_gigabytes": rounded(allocated),
        "reserved_gigabytes": rounded(reserved),
        "estimate_gigabytes": rounded(estimate / 1e9),
        "loss": rounded(reports[-1].loss),
        "gradient_norm": rounded(reports[-1].gradient_norm),
        "compilations": compilations(),
    }
    if device == "cuda":
        figures |= {
            "peak_over_estimate": rounded(allocated / (estimate / 1e9)),
            "passed": PEAK_SHARE <= allocated / (estimate / 1e9) <= 1,
            "decides": f"peak between {PEAK_SHARE} and 1 of the estimate",
        }
    record(part=part, **figures)


def lora(record, device):
    """Counted work with frozen weights: a forward pass and the gradient of what enters each matrix; of attention and
    of what is computed again nothing is spared: (matrices, pairs, head) times that of a forward pass."""
    sizes = (16_384, 32_768, 65_536) if device == "cuda" else (600, 1200, 900)
    rate = matrix_product_rate(device)
    model = model_of(device)
    size = size_of(model)
    probe(record, model)
    learner = Learner(model, None, settings_of(device, max(sizes), lora={"rank": 16}))
    for num_rows in sizes:
        part = f"LoRA, {num_rows:,} rows"
        estimate = estimated(size, num_rows, is_lora=True)
        measure(record, learner, device, part, num_rows, estimate=estimate, work_factors=(2, 3, 2), rate=rate)

    if device == "cuda":
        try:
            profile(record, learner, sizes[-1])
        except Exception:
            record.error("profile")


KINDS = {
    "attention": ("flex_attention", "triton_tem"),
    "matrices": ("gemm", "nvjet", "cutlass", "xmma"),
    "softmax": ("softmax", "SoftMax", "nll_loss"),
    "norms, casts, sums": ("elementwise", "reduce", "copy", "Memcpy", "Memset", "cat", "index", "triton_"),
    "optimiser": ("multi_tensor", "adam"),
}
"""By what a kernel's name holds; the first that fits."""


def profile(record, learner, num_rows):
    """Where the card's time goes in one step, by kind of kernel, and the kernels that take most."""
    items = rendered(num_rows, learner.model, seed=num_rows)
    learner._renderer = StoredRenderer(items)
    learner.settings = learner.settings.model_copy(update={"epochs": 1})
    activities = [torch.profiler.ProfilerActivity.CUDA]
    began = time.monotonic()
    with torch.profiler.profile(activities=activities) as profiled:
        learner.fit(learner._renderer.transitions(), generator=random.Random(0))
        torch.cuda.synchronize()
    by_name = {event.key: event.self_device_time_total / 1e6 for event in profiled.key_averages()}
    kinds = dict.fromkeys([*KINDS, "others"], 0.0)
    for name, taken in by_name.items():
        fitting = (kind for kind, marks in KINDS.items() if any(mark in name for mark in marks))
        kinds[next(fitting, "others")] += taken
    most = sorted(by_name, key=lambda name: -by_name[name])[:15]
    record(
        part=f"where {num_rows:,} rows spend their time, in seconds",
        seconds=rounded(time.monotonic() - began),
        **{kind: rounded(taken) for kind, taken in kinds.items()},
        kernels={name[:90]: rounded(by_name[name]) for name in most},
    )


def full(record, device):
    num_rows = 8192 if device == "cuda" else 600
    rate = matrix_product_rate(device)
    model = model_of(device)
    size = size_of(model)
    learner = Learner(model, None, settings_of(device, num_rows))
    part = f"all weights, {num_rows:,} rows"
    estimate = estimated(size, num_rows)
    measure(record, learner, device, part, num_rows, estimate=estimate, work_factors=(3, 3, 3), rate=rate)
    infinite(record, learner)


def infinite(record, learner):
    """A weight that is not finite: the step is refused by the trajectory's name, and nothing moves."""
    items = rendered(600, learner.model, seed=1)
    learner._renderer = StoredRenderer(items)
    good = learner._renderer.transitions(trajectory="good")
    bad = learner._renderer.transitions(trajectory="bad", places=range(3), weight=float("inf"))
    learner.settings = learner.settings.model_copy(update={"batch_size": 2, "epochs": 1})
    watched = {
        name: parameter.detach().clone()
        for name, parameter in learner.model.named_parameters()
        if "norm" in name or "layers.0." in name
    }
    said = None
    try:
        learner.fit([*good, *bad], generator=random.Random(0))
    except TrainingError as error:
        said = str(error)
    now = dict(learner.model.named_parameters())
    is_still = all(torch.equal(now[name], before) for name, before in watched.items())
    report = learner.fit(good, generator=random.Random(0))
    record(
        part="a loss that is not finite",
        said=said,
        weights_stay=is_still,
        loss_of_next_fit=rounded(report.last_epoch_loss),
        passed=bool(said and "bad" in said and is_still),
        decides="refused by name, no weight moves, the next fit goes on",
    )


def ranks(record, device):
    """Rank 0 of two: what would come from the other rank is a copy of this one's, so that all stays finite."""
    from torch import distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)

    class Done:
        def wait(self):
            return True

    def gather(output_tensor, input_tensor, group=None, async_op=False):
        output_tensor.view(2, -1).copy_(input_tensor.reshape(1, -1).expand(2, -1))
        return Done() if async_op else None

    def scatter(output, input, op=None, group=None, async_op=False):
        output.copy_(input.view(2, *output.shape)[0])
        return Done() if async_op else None

    distributed.all_gather_into_tensor = gather
    distributed.reduce_scatter_tensor = scatter
    distributed.broadcast_object_list = lambda *_, **__: None
    is_gpu = device == "cuda"
    sizes = (32_768,) if is_gpu else (600,)
    rate = matrix_product_rate(device)
    model = model_of(device)
    size = size_of(model)
    cost = model_cost(model)
    place = Ranks(index=0, number=2, device=torch.device(device))
    learner = Learner(model, None, settings_of(device, max(sizes)), ranks=place)
    learner._cost = replace(cost)
    if is_gpu:
        allocated, _ = peak_gigabytes(device)
        held = torch.cuda.memory_allocated() / 1e9
        record(part="after the model is split", gigabytes=rounded(held), peak_gigabytes=rounded(allocated))
    for num_rows in sizes:
        part = f"rank 0 of 2, all weights, {num_rows:,} rows"
        estimate = estimated(size, num_rows, num_ranks=2)
        measure(record, learner, device, part, num_rows, estimate=estimate, work_factors=(3, 3, 3), rate=rate)
    distributed.destroy_process_group()
