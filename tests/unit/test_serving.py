"""Which server, and which weights, a recipe asks for."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from turnmix.assembly.server import check_student_server, make_engine, weights_of
from turnmix.assembly.student import LearningStudent
from turnmix.nano import CHECKPOINT
from turnmix.policies.server.process import free_port
from turnmix.policies.server.vllm import VllmEngine
from turnmix.recipe.recipe import load_recipe

RECIPE = str(Path(__file__).parents[2] / "recipes" / "minirepo_dagger.yaml")


def recipe(*overrides):
    return load_recipe(RECIPE, overrides)


def test_before_training_the_server_acts_with_the_base_model():
    weights = weights_of(recipe("student.server.engine=vllm"), checkpoint=None)
    assert (weights.location, weights.base, weights.adapter) == (str(CHECKPOINT), str(CHECKPOINT), None)


def test_after_an_iteration_it_acts_with_the_checkpoint_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = weights_of(recipe("student.server.engine=vllm"), checkpoint=Path("checkpoints/iteration-001"))
    assert weights.location == str(tmp_path / "checkpoints" / "iteration-001")
    assert weights.adapter is None


def test_with_lora_the_adapter_of_the_checkpoint_goes_on_the_base_model(tmp_path):
    weights = weights_of(recipe("learner.lora.rank=8"), checkpoint=tmp_path)
    assert weights.adapter == str(tmp_path / "adapter")
    assert weights.base == str(CHECKPOINT)


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ((), "student"),
        (("student.server.endpoint=http://host/v1", "student.server.model=qwen"), "qwen"),
        (("student.server.endpoint=http://host/v1", "student.model=some/model"), "some/model"),
    ],
)
def test_the_model_has_the_name_it_has_at_the_server(overrides, name):
    chosen = recipe("student.server.engine=vllm", *overrides)
    engine = make_engine(chosen, chosen.student.server)
    assert isinstance(engine, VllmEngine)
    command = engine.command(weights_of(recipe(), checkpoint=None), port=1)
    assert command[command.index("--served-model-name") + 1] == name


@pytest.mark.parametrize(
    ("overrides", "is_told"),
    [
        (("method=grpo", "student.temperature=0.7"), True),
        (("method=grpo",), False),
        (("student.temperature=0.7",), False),
        (("method=opd", "teacher.kind=local", "teacher.model=m", "student.temperature=0.7"), False),
        (
            (
                "method=opd",
                "teacher.kind=local",
                "teacher.model=m",
                "student.temperature=0.7",
                "objective.ratio=true",
            ),
            True,
        ),
    ],
)
def test_a_started_server_tells_log_probabilities_at_the_temperature_of_sampling_where_a_ratio_is_taken(
    overrides, is_told
):
    chosen = recipe("student.server.engine=vllm", *overrides)
    command = make_engine(chosen, chosen.student.server).command(weights_of(chosen, checkpoint=None), port=1)
    assert ("processed_logprobs" in command) is is_told
    # A checkpoint's own top-k and repetition penalty would change what temperature and top-p mean.
    assert command[command.index("--generation-config") + 1] == "vllm"


def test_a_started_server_reads_the_longest_conversation_and_an_answer_and_no_more_than_the_model():
    chosen = recipe("student.server.engine=vllm", "scaffold.max_tokens=65536", "student.max_new_tokens=4096")

    def words(model_context):
        engine = make_engine(chosen, chosen.student.server, model_context=model_context)
        return engine.command(weights_of(chosen, checkpoint=None), port=1)

    command = words(262_144)
    assert command[command.index("--max-model-len") + 1] == "69632"
    assert command[command.index("--logprobs-mode") + 1] == "raw_logprobs"
    short = words(40_960)
    assert short[short.index("--max-model-len") + 1] == "40960"
    assert "--max-model-len" not in words(None)


@pytest.mark.parametrize(
    ("overrides", "variables", "cards"),
    [
        ((), {}, "GPU 0,"),
        ((), {"CUDA_VISIBLE_DEVICES": "2,3"}, "GPU 2,"),
        (("student.device=cuda:1",), {}, None),
        (("student.device=cuda:1", "student.server.arguments=[--tensor-parallel-size=2]"), {}, "GPU 1,"),
        (("student.server.environment={CUDA_VISIBLE_DEVICES: '1'}",), {}, None),
        (("student.server.environment={CUDA_VISIBLE_DEVICES: '1'}",), {"LOCAL_WORLD_SIZE": "2"}, "GPU 1,"),
        (("student.server.arguments=[--gpu-memory-utilization=0.3]",), {}, None),
        (("student.device=cpu",), {}, None),
    ],
)
def test_a_server_that_would_take_the_learners_card_unasked_is_refused(
    monkeypatch, overrides, variables, cards
):
    for name in ("CUDA_VISIBLE_DEVICES", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    server = ("student.device=cuda", "student.server.engine=vllm", "student.server.program=/usr/bin/env")
    (finding,) = check_student_server(recipe(*server, *overrides))
    assert finding.passed is (cards is None)
    assert cards is None or cards in finding.detail
    assert cards is None or "--gpu-memory-utilization" in finding.detail


def test_without_a_server_there_is_nothing_to_check():
    assert check_student_server(recipe()) == ()


def test_an_engine_that_is_not_here_is_a_finding(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = check_student_server(recipe("student.server.engine=vllm"))
    assert finding.passed is False
    assert "student.server.program" in finding.detail


def test_a_program_that_is_here_is_a_finding_too():
    (finding,) = check_student_server(
        recipe("student.server.engine=vllm", "student.server.program=/usr/bin/env")
    )
    assert finding.passed
    assert "/usr/bin/env" in finding.detail


def test_an_endpoint_where_nothing_answers_is_a_finding():
    endpoint = f"http://127.0.0.1:{free_port(None)}/v1"
    (finding,) = check_student_server(
        recipe("student.server.engine=vllm", f"student.server.endpoint={endpoint}")
    )
    assert finding.passed is False
    assert endpoint in finding.detail


@pytest.mark.parametrize(
    ("computes_on", "copy_on", "has_room"), [("cuda", "cpu", False), ("cpu", "cpu", True)]
)
def test_the_base_does_not_act_beside_learning_on_a_card_also_where_the_acting_copy_lies_elsewhere(
    computes_on, copy_on, has_room
):
    """Of several ranks whose student a server acts for, the copy lies on the CPU; the base would go to the card."""
    learner = SimpleNamespace(
        device=torch.device(computes_on),
        acting_model=SimpleNamespace(device=torch.device(copy_on)),
        max_context=8192,
    )
    nothing = dict.fromkeys(("renderer", "tokenizer", "checkpoint", "server"))
    student = LearningStudent(learner=learner, recipe=recipe(), **nothing)
    assert student.has_room_beside_learning is has_room
