"""Renewal is tried before a run: a server takes other weights and then the student's again, or is found out."""

import asyncio
import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from failing_endpoint import FailingEndpoint, Reply
from safetensors.torch import load_file
from served_students import BASE, STUDENT, student_server

from limited_files import no_file_larger_than
from turnmix.core.errors import CheckpointError, UserError
from turnmix.policies.local.loading import load_student
from turnmix.policies.local.token_logprobs import token_logprobs
from turnmix.policies.server.held_weights import TRIAL
from turnmix.policies.server.transformers import TransformersEngine
from turnmix.policies.server.vllm import VllmEngine
from turnmix.training.adapter import add_adapter
from turnmix.training.learner_settings import LoraSettings
from turnmix.training.trial_weights import trial_weights

STAND_IN = Path(__file__).with_name("stand_in_server.py")
IDS = list(range(20, 60))


def distance(left, right):
    return sum(abs(a - b) for a, b in zip(left, right, strict=True)) / len(left)


class Server:
    """Answers as vLLM does; `takes(path)`: does it act with the weights of a path that it was told to reload?"""

    def __init__(self, takes):
        self.takes = takes
        self.held = BASE.location
        self.asked = []

    def __call__(self, number, request):
        last = request.path.rpartition("/")[2]
        if last == "collective_rpc":
            path = request.body["kwargs"]["weights_path"]
            self.asked.append(path)
            if self.takes(path):
                self.held = path
        answers = {
            "version": {"version": "0.32.0"},
            "models": {"data": [{"id": str(STUDENT.model), "max_model_len": 8192}]},
            "reset_prefix_cache": {"success": True},
            "completions": {"choices": [self.choice(request)]},
        }
        return Reply(body=json.dumps(answers.get(last, {})).encode())

    def choice(self, request):
        prompt = request.body["prompt"] if isinstance(request.body, dict) and "prompt" in request.body else []
        told = {BASE.location: -1.0}.get(self.held, -3.0)
        entries = [{str(token): {"logprob": told}} for token in prompt]
        sampled = {"token_ids": [5, 2], "logprobs": {"token_logprobs": [-0.5, -0.5]}}
        return {"text": "", "finish_reason": "stop", "prompt_logprobs": [None, *entries[1:]], **sampled}


def opened(takes, folder):
    """A given server, tried as a run would; what it was asked to reload."""

    @contextmanager
    def trial(held, directory):
        directory.mkdir()
        yield replace(held, location=str(directory)), lambda ids: [-3.0] * (len(ids) - 1)

    async def run():
        server = Server(takes)
        async with FailingEndpoint(server) as endpoint:
            student = student_server(
                VllmEngine(dtype="float32", lora_rank=None),
                own_logprobs=lambda ids: [-1.0] * (len(ids) - 1),
                trial=trial,
                endpoint=endpoint.url,
            )
            try:
                await asyncio.to_thread(student.open, BASE, log=folder / "server.log")
            finally:
                server.left = list(folder.iterdir())
            return server

    return asyncio.run(run())


def test_a_server_takes_other_weights_and_the_students_again_before_the_run(tmp_path):
    server = opened(lambda path: True, tmp_path)
    assert server.asked == [BASE.location, str(tmp_path / TRIAL), BASE.location]
    assert server.held == BASE.location
    assert server.left == []


def test_a_link_in_the_place_of_the_weights_tried_is_not_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    run = tmp_path / "run"
    run.mkdir()
    (run / TRIAL).symlink_to(elsewhere)
    assert opened(lambda path: True, run).left == []
    assert [path.name for path in elsewhere.iterdir()] == ["mine"]


@pytest.mark.parametrize("takes", [lambda path: False, lambda path: path.endswith(TRIAL)])
def test_a_given_server_that_only_says_so_is_refused_before_the_run(tmp_path, takes):
    with pytest.raises(UserError, match=r"new weights were tried on it before the run: .*says that it took"):
        opened(takes, tmp_path)
    assert list(tmp_path.iterdir()) == []


def started(folder, engine, *, refused):
    """A started server that answers `refused` with an error, opened as a run would; what was said, and its end."""
    noted = folder / "noted"
    noted.mkdir()
    (noted / "refused").write_text(refused)
    program = folder / "vllm"
    program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
    program.chmod(0o755)

    @contextmanager
    def trial(held, directory):
        directory.mkdir()
        yield replace(held, adapter=str(directory)), lambda ids: [-3.0] * (len(ids) - 1)

    server = student_server(engine, trial=trial, program=str(program), environment={"STAND_IN": str(noted)})
    said = []
    try:
        server.open(BASE, log=folder / "server.log", say=said.append)
    finally:
        server.close()
    return said


def test_a_started_server_that_takes_no_adapter_is_refused_for_another_start_would_not_give_it_one(tmp_path):
    engine = VllmEngine(dtype="float32", lora_rank=8)
    with pytest.raises(UserError, match=r"new weights were tried on it before the run: .*load_lora_adapter"):
        started(tmp_path, engine, refused="/v1/load_lora_adapter")
    assert not (tmp_path / TRIAL).exists()


def test_a_server_that_tells_no_log_probabilities_must_say_that_it_takes_other_weights(tmp_path):
    async def run():
        answers = {"load_model": Reply(body=b'data: {"status": "ready"}\n\n')}
        asked = []

        def script(number, request):
            last = request.path.rpartition("/")[2]
            if last == "load_model":
                asked.append(request.body["model"])
                if request.body["model"].endswith(TRIAL):
                    return Reply(status=404, body=b'{"detail": "no such directory"}')
            return answers.get(last, Reply(body=b"{}"))

        @contextmanager
        def trial(held, directory):
            directory.mkdir()
            yield replace(held, location=str(directory)), lambda ids: [-3.0] * (len(ids) - 1)

        async with FailingEndpoint(script) as endpoint:
            engine = TransformersEngine(device="cpu", dtype="float32")
            student = student_server(engine, trial=trial, endpoint=endpoint.url)
            with pytest.raises(UserError, match=r"tried on it before the run: .*no such directory"):
                await asyncio.to_thread(student.open, BASE, log=tmp_path / "server.log")
        return asked

    assert asyncio.run(run()) == [BASE.location, str(tmp_path / TRIAL)]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_by_what_was_to_be_tried(tmp_path):
    model, tokenizer, _ = load_student(STUDENT)
    trial = trial_weights(model, BASE, tmp_path / TRIAL, tokenizer=tokenizer, dtype=torch.float32)
    with (
        no_file_larger_than(100_000),
        pytest.raises(CheckpointError, match=r"tried with, .*\([\d,]+ MB are free there\): .*File too"),
        trial,
    ):
        pass


def test_what_a_run_that_was_killed_left_of_the_weights_tried_is_deleted(tmp_path):
    (tmp_path / TRIAL).mkdir()
    (tmp_path / TRIAL / "model.safetensors").write_bytes(b"half")
    assert opened(lambda path: True, tmp_path).left == []


def test_the_weights_tried_differ_in_every_row_and_the_students_stay_as_they_are(tmp_path):
    model, tokenizer, _ = load_student(STUDENT)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own = token_logprobs(model, IDS)
    with trial_weights(model, BASE, tmp_path / "trial", tokenizer=tokenizer, dtype=torch.bfloat16) as (
        weights,
        logprobs,
    ):
        assert distance(logprobs(IDS), own) > 0.2  # twice what roundings of bfloat16 may explain
        written = load_file(tmp_path / "trial" / "model.safetensors")
        assert (weights.location, weights.base) == (str(tmp_path / "trial"), BASE.base)
        # A server of another user reads them as it will read checkpoints.
        (tmp_path / "new").touch()
        modes = {path.stat().st_mode for path in (tmp_path / "trial").iterdir()}
        assert modes == {(tmp_path / "new").stat().st_mode}
    assert all(tensor.dtype == torch.bfloat16 for tensor in written.values())
    for name, tensor in written.items():
        is_other = ((tensor.float() != before[name]) | (before[name] == 0)).reshape(len(tensor), -1).any(1)
        assert is_other.all(), name
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("stale", ["lm_head", "self_attn.q_proj", "mlp.down_proj", "input_layernorm"])
def test_a_server_that_keeps_a_kind_of_the_old_matrices_tells_other_log_probabilities(tmp_path, stale):
    model, tokenizer, _ = load_student(STUDENT)
    with trial_weights(model, BASE, tmp_path / "trial", tokenizer=tokenizer, dtype=torch.float32) as (
        _,
        logprobs,
    ):
        right = logprobs(IDS)
        other = logprobs.args[0]
        if stale == "lm_head":  # the embedding is new, the head that is tied to it is not
            other.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
        else:
            old = {name: tensor for name, tensor in model.state_dict().items() if stale in name}
            other.load_state_dict(old, strict=False)
        assert distance(logprobs(IDS), right) > 0.01  # what roundings of float32 may explain


def test_an_adapter_is_tried_and_the_students_is_what_it_was(tmp_path):
    pytest.importorskip("peft", reason="LoRA needs the package peft: pip install 'turnmix[lora]'")
    model, tokenizer, _ = load_student(STUDENT)
    add_adapter(model, LoraSettings(rank=4, alpha=8), seed=0)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    own = token_logprobs(model, IDS)
    trial = partial(trial_weights, model, BASE, tmp_path / "trial", tokenizer=tokenizer, dtype=torch.bfloat16)
    with trial() as (weights, logprobs):
        assert distance(logprobs(IDS), own) > 0.1
        assert load_file(f"{weights.adapter}/adapter_model.safetensors")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
