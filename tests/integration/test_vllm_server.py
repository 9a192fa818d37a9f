"""The student behind a real vLLM: tokens and log-probabilities, weights renewed, adapters swapped.

Opt-in, for vLLM needs some 3 GB and often an environment of its own:

    TURNMIX_VLLM_PROGRAM=/path/to/bin/vllm pytest tests/integration/test_vllm_server.py
"""

import os
import shutil
from functools import partial

import pytest
import torch
from long_tests import takes_minutes
from served_students import (
    BASE,
    STUDENT,
    Killing,
    has_sandbox,
    own_actions,
    perturbed,
    rolled_out,
    student_server,
    visited,
)

from turnmix.core.trajectory import StopReason
from turnmix.nano import CHECKPOINT
from turnmix.policies.local.loading import load_student
from turnmix.policies.local.token_logprobs import token_logprobs
from turnmix.policies.server.engine import Weights
from turnmix.policies.server.vllm import VllmEngine
from turnmix.training.adapter import add_adapter, merged_weights, save_adapter
from turnmix.training.learner_settings import LoraSettings
from turnmix.training.trial_weights import trial_weights

PROGRAM = os.environ.get("TURNMIX_VLLM_PROGRAM") or shutil.which("vllm")
pytestmark = [
    pytest.mark.skipif(
        PROGRAM is None, reason="vLLM is not installed: set TURNMIX_VLLM_PROGRAM to a vllm program"
    ),
    pytest.mark.skipif(not has_sandbox(), reason="bwrap is not installed: apt install bubblewrap"),
]
LORA = LoraSettings(rank=4, alpha=8)
ARGUMENTS = ("--max-model-len=8192", "--enforce-eager")


class Opened:
    """A server, and the student in this process that it is held to."""

    def __init__(self, engine, log, *, lora=None):
        self.model, tokenizer, _ = load_student(STUDENT)
        if lora is not None:
            add_adapter(self.model, lora, seed=0)
        self.server = student_server(
            engine,
            own_logprobs=lambda ids: token_logprobs(self.model, ids),
            trial=partial(trial_weights, self.model, tokenizer=tokenizer, dtype=torch.float32),
            program=PROGRAM,
            arguments=ARGUMENTS,
            start_timeout_seconds=900.0,
        )
        try:
            self.server.open(BASE, log=log)
        except BaseException:
            self.server.close()
            raise

    def renew(self, weights):
        self.model, _, _ = load_student(STUDENT, source=weights.location)
        self.server.renew(weights)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    full = Opened(
        VllmEngine(dtype="float32", lora_rank=None), tmp_path_factory.mktemp("served") / "server.log"
    )
    yield full
    full.server.close()


def check_acts_as(server, location, others=()):
    """Greedy rollouts take, in every state, the very tokens that the checkpoint takes in this process."""
    seen = visited(rolled_out(server.policy(greedy=True)))
    states = [state for state, _ in seen]
    own = own_actions(location, states)
    assert [action.token_ids for _, action in seen] == [action.token_ids for action in own]
    for (_, action), mine in zip(seen, own, strict=True):
        assert action.message == mine.message
        assert action.logprobs == pytest.approx(mine.logprobs, abs=1e-3)
    for other in others:
        assert [a.token_ids for a in own_actions(other, states)] != [a.token_ids for _, a in seen]


def test_it_acts_as_the_checkpoint_and_after_each_renewal_as_the_new_one(full, tmp_path):
    other = perturbed(tmp_path / "iteration-001")
    for weights, different in ((BASE, other), (other, BASE), (BASE, other)):
        full.renew(weights)
        check_acts_as(full.server, weights.location, [different.location])


def test_log_probabilities_of_sampled_tokens_are_those_at_temperature_1_where_nothing_compares_with_them(
    full,
):
    full.renew(BASE)
    model, _, renderer = load_student(STUDENT)
    for state, action in visited(rolled_out(full.server.policy(greedy=False), turns=2)):
        prompt = renderer.prompt_ids(state)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + list(action.token_ids)])).logits[0]
        logprobs = logits.log_softmax(-1)[len(prompt) - 1 : -1]
        own = [float(logprobs[index, token]) for index, token in enumerate(action.token_ids)]
        assert action.logprobs == pytest.approx(own, abs=1e-3)


@takes_minutes
def test_equal_seeds_sample_equal_tokens(full):
    full.renew(BASE)
    first, second = (
        sorted(
            (t.id, [turn.action.token_ids for turn in t.turns])
            for t in rolled_out(full.server.policy(greedy=False))
        )
        for _ in range(2)
    )
    assert first == second


def test_a_server_killed_in_the_middle_is_started_again_with_the_same_weights(full, tmp_path):
    other = perturbed(tmp_path / "iteration-001")
    full.renew(other)
    server = full.server
    killing = Killing(server, server.policy(greedy=True), after=5)
    found = rolled_out(killing)
    assert killing.has_killed
    assert [t for t in found if t.stop_reason is StopReason.infra_error] == []
    check_acts_as(server, other.location, [BASE.location])


def adapted(directory, seed):
    """A checkpoint of LoRA whose matrices are not 0, and its merged weights."""
    model, tokenizer, _ = load_student(STUDENT)
    add_adapter(model, LORA, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.05 * torch.randn(parameter.shape, generator=generator)
    directory.mkdir()
    save_adapter(model, directory / "adapter")
    plain, _, _ = load_student(STUDENT)
    plain.load_state_dict(merged_weights(model))
    plain.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return Weights(location=str(directory), base=str(CHECKPOINT), adapter=str(directory / "adapter"))


def test_adapters_are_swapped_while_it_runs(tmp_path):
    engine = VllmEngine(dtype="float32", lora_rank=LORA.rank)
    lora = Opened(engine, tmp_path / "server.log", lora=LORA)
    server = lora.server
    try:
        check_acts_as(server, BASE.location)
        first, second = (adapted(tmp_path / f"iteration-00{n}", seed=n) for n in (1, 2))
        lora.renew(first)
        check_acts_as(server, first.location, [BASE.location, second.location])
        lora.renew(second)
        check_acts_as(server, second.location, [BASE.location, first.location])
        assert server.num_restarts == 0
        rolled_out(Killing(server, server.policy(greedy=True), after=5))
        assert server.num_restarts == 1
        check_acts_as(server, second.location, [BASE.location, first.location])
    finally:
        server.close()
