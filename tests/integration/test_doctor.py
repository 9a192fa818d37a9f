"""`turnmix doctor`: every line says ok or what to do, in seconds, whatever is missing."""

import os
import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from turnmix.doctor.checks import CHECKS, run_checks
from turnmix.doctor.cohort import check_cohort
from turnmix.doctor.machine import check_disk, check_memory
from turnmix.doctor.memory import ModelSize, learning_bytes, size_of
from turnmix.recipe.recipe import load_recipe

ROOT = Path(__file__).parents[2]
MAIN = "import sys; from turnmix.cli import main; sys.exit(main())"
PATIENT = f"from turnmix.doctor import checks; checks.run_checks.__kwdefaults__['seconds'] = 300.0\n{MAIN}"
"""What a check has not answered in time counts as failed, and another program's load may make one late."""


def doctor(folder, *words, **environment):
    """Exit code and lines, on a machine without runtime, GPU, hub or endpoints."""
    nowhere = {
        "DOCKER_HOST": f"unix://{folder}/none.sock",
        "PATH": str(folder),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", PATIENT, "doctor", *words],
        cwd=folder,
        env={**os.environ, **nowhere, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.splitlines()


def failing(lines):
    return {line.removeprefix("FAIL ").split(": ")[0] for line in lines if line.startswith("FAIL ")}


def test_room_on_the_disk_is_needed_for_the_checkpoints_that_stay(tmp_path):
    def found(*overrides, num_written=0):
        recipe = load_recipe("minirepo_dagger", ["iterations=100000000", *overrides])
        (finding,) = check_disk(recipe, runs=tmp_path / "run", num_written=num_written)
        return finding

    assert not found().passed
    assert "make room" in found().detail
    kept = found("checkpoints.keep=2")
    assert kept.passed, kept.detail
    assert "3 checkpoints and 2 optimiser states take some " in kept.detail
    assert kept.detail.endswith(" MB")
    assert "; 1 checkpoint and 1 optimiser state take" in found("checkpoints.keep=2", num_written=7).detail


def test_the_papers_run_needs_room_for_five_students_and_two_states_of_the_optimiser(tmp_path):
    """4 billion parameters: weights of 16 GB, states of 32. 5 x 16 + 2 x 32 = 144."""

    def told(*overrides, num_written=0):
        recipe = load_recipe("swe_gym_qwen3_4b_dagger", overrides)
        recipe = recipe.model_copy(
            update={"student": recipe.student.model_copy(update={"model": "somewhere/else-4B"})}
        )
        (finding,) = check_disk(recipe, runs=tmp_path / "run", num_written=num_written)
        return finding.detail.partition("; ")[2].partition(":")[0]

    assert told() == "5 checkpoints and 2 optimiser states take some 144 GB"
    assert told(num_written=4) == "1 checkpoint and 1 optimiser state take some 48.0 GB"
    assert told("checkpoints.keep=1") == "2 checkpoints and 2 optimiser states take some 96.0 GB"
    assert told("learner.lora={}") == "5 checkpoints and 2 optimiser states take some 80.6 GB"


def test_the_papers_recipe_on_a_bare_machine_fails_line_by_line_and_waits_for_nobody(tmp_path):
    recipe = str(ROOT / "recipes" / "swe_gym_qwen3_4b_dagger.yaml")
    code, lines = doctor(tmp_path, recipe)
    assert code == 1
    expected = {"tasks, file", "sandbox, runtime", "packages, compiler", "memory, gpu", "model, student",
                "student, reachable", "teacher, reachable"}  # fmt: skip
    assert failing(lines) >= expected
    text = "\n".join(lines)
    for remedy in (
        "turnmix tasks prepare",
        "sudo apt-get install podman" if find_spec("docker") else "pip install 'turnmix[containers]'",
        "sudo apt-get install gcc",
        "GB to learn in passes of 81,920 rows: run it on a machine that has that",
        "hf download Qwen/Qwen3-4B-Instruct-2507",
        "student.server.endpoint http://localhost:8000/v1: cannot connect",
        "teacher.endpoint http://localhost:8001/v1: cannot connect",
    ):
        assert remedy in text
    assert lines[-1] == f"{len([line for line in lines if line.startswith('FAIL ')])} to mend"


def test_the_embedded_recipe_has_nothing_to_mend(tmp_path):
    recipe = str(ROOT / "recipes" / "minirepo_dagger.yaml")
    code, lines = doctor(tmp_path, recipe, "sandbox.kind=none", PATH=os.environ["PATH"])
    assert (code, lines[-1]) == (0, "nothing stands in the way")
    assert [line for line in lines if line.startswith("ok")]


def test_a_recipe_to_evaluate_on_needs_room_for_no_checkpoint_and_memory_for_no_learning(tmp_path):
    _, lines = doctor(tmp_path, str(ROOT / "recipes" / "swe_bench_verified.yaml"))
    (disk,) = (line for line in lines if "disk, runs" in line)
    (memory,) = (line for line in lines if "memory, gpu" in line)
    assert disk.startswith("ok")
    assert "no checkpoint is written" in disk
    assert "GB to serve the student" in memory
    assert "to learn" not in memory


def test_a_recipe_that_is_none_is_the_users_mistake(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "doctor", "nothing"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "not found" in done.stderr


def test_a_check_that_hangs_or_breaks_is_a_line_and_holds_up_nobody(monkeypatch):
    recipe = load_recipe(str(ROOT / "recipes" / "minirepo_dagger.yaml"))

    def broken(recipe):
        raise RuntimeError("oh")

    for name in CHECKS:  # those of the machine itself may be late
        monkeypatch.setitem(CHECKS, name, lambda recipe: [])
    monkeypatch.setitem(CHECKS, "tasks", lambda recipe: time.sleep(600) or [])
    monkeypatch.setitem(CHECKS, "model", broken)
    started = time.monotonic()
    found = [(name, finding.subject, finding.passed) for name, finding in run_checks(recipe, seconds=2.0)]
    assert time.monotonic() - started < 300
    assert ("tasks", "time", False) in found
    assert ("model", "error", False) in found


def test_the_estimate_counts_sixteen_bytes_a_parameter_and_little_with_lora():
    size = size_of("Qwen/Qwen3-4B-Instruct-2507", None)
    assert size.parameters == 4e9
    small = ModelSize(parameters=1e9, hidden=0, layers=0, vocabulary=0)
    options = {"tokens": 0, "is_checkpointing": True, "dtype": "bfloat16"}
    assert learning_bytes(small, is_lora=False, **options) == 16e9
    assert learning_bytes(small, is_lora=True, **options) == pytest.approx(4.16e9)
    assert size_of("some-model", None) is None


def test_a_short_pass_is_estimated_by_its_loss_head():
    size = ModelSize(parameters=0, hidden=2560, layers=0, vocabulary=151_936)
    options = {"is_lora": True, "is_checkpointing": True, "dtype": "bfloat16"}
    assert learning_bytes(size, tokens=8192, **options) == 5e9  # one layer computes with 1.9 GB
    assert learning_bytes(size, tokens=65_536, **options) == 65_536 * 2560 * 46 * 2
    nano = ModelSize(parameters=0, hidden=128, layers=0, vocabulary=1000)
    assert learning_bytes(nano, tokens=1000, **options) == 1000 * 1000 * 32


@pytest.fixture
def cards(tmp_path, monkeypatch):
    """Lets nvidia-smi tell of cards with so many GB, all free."""

    def lay(*gigabytes):
        sizes = [int(each * 1e9 / 2**20) for each in gigabytes]
        lines = "\\n".join(f"{card}, GPU-{card}a-b, {size}, {size}" for card, size in enumerate(sizes))
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{lines}\\n'\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lay


def memory_of(*overrides):
    shape = ["student.model=Qwen/Qwen3-4B", "student.device=cuda", "learner.gradient_checkpointing=true"]
    options = [*shape, "learner.dtype=bfloat16", "learner.tokens_per_pass=16384", *overrides]
    return next(check_memory(load_recipe("minirepo_dagger", options)))


def test_a_card_is_held_to_what_lies_on_it_and_never_their_sum(cards):
    cards(48, 48)
    found = memory_of()
    assert not found.passed  # 73 GB on one, 57 on the first of two: as if they were 96
    assert "learner.lora" in found.detail
    assert memory_of("learner.lora={}").passed
    cards(80, 80)
    assert memory_of().passed
    assert "torchrun" not in memory_of().detail
    cards(64, 64)
    found = memory_of()
    assert found.passed
    assert "on each of 2 cards" in found.detail
    assert found.detail.endswith("torchrun --nproc-per-node 2")
    cards(64, 24)
    assert not memory_of().passed
    cards(48, 48)
    # 41 GB on each of two where a server elsewhere acts: the student that acts would take 16 more.
    assert memory_of("student.server={endpoint: 'http://host:8000/v1'}").passed


def test_the_largest_pass_is_that_of_the_longest_path_and_its_labels_whatever_the_budget(cards):
    """The conversation ends at 65,536 tokens, so do its transitions; a budget below saves nothing."""
    cards(80)
    long = ["scaffold.max_tokens=65536", "student.max_new_tokens=256"]
    assert "in passes of 82,240 rows" in memory_of(*long).detail
    assert "in passes of 50,000 rows" in memory_of(*long, "learner.max_context=40000").detail
    assert "in passes of 90,000 rows" in memory_of(*long, "learner.tokens_per_pass=90000").detail
    assert "a smaller learner.max_context" in memory_of(*long).detail


def test_a_card_of_the_students_server_is_not_the_learners(cards):
    cards(24, 80)
    alone = "student.server={environment: {CUDA_VISIBLE_DEVICES: '0'}}"
    assert memory_of(alone).passed
    assert "to serve" not in memory_of(alone).detail
    assert not memory_of("student.server={environment: {CUDA_VISIBLE_DEVICES: '1'}}").passed
    assert (
        "all of them the student's server's"
        in memory_of("student.server={environment: {CUDA_VISIBLE_DEVICES: '0,1'}}").detail
    )
    cards(80)
    assert "to serve the student" in memory_of("student.server={}").detail
    told = "student.server={arguments: ['--gpu-memory-utilization=0.25']}"
    assert "20.0 GB to serve the student" in memory_of(told).detail


@pytest.mark.parametrize(
    ("server", "passed"),
    [("{endpoint: 'http://host:8000/v1'}", True), ("{engine: transformers}", True), ("{engine: vllm}", None)],
)
def test_a_student_that_learns_on_a_cpu_needs_no_gpu_for_a_server_elsewhere_or_on_the_same_cpu(
    cards, server, passed
):
    cards()
    found = memory_of("student.device=cpu", f"student.server={server}")
    assert found.passed is passed
    assert "estimate for" in found.detail


@pytest.mark.parametrize(
    ("visible", "servers", "says"),
    [
        ("1", "0", "1 GPU of 80 GB"),  # not all of them the server's
        ("1,2", "2", "2 GPUs of 80, 24 GB"),
        ("GPU-1a,2", "GPU-2a-b", "2 GPUs of 80, 24 GB"),
        ("2,1", "2", "2 GPUs of 24, 80 GB"),
    ],
)
def test_cards_are_told_apart_by_the_names_that_all_programs_have_for_them(
    cards, monkeypatch, visible, servers, says
):
    cards(48, 80, 24)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = memory_of(f"student.server={{environment: {{CUDA_VISIBLE_DEVICES: '{servers}'}}}}")
    assert found.passed
    assert says in found.detail
    assert "to serve" not in found.detail


def test_a_server_that_was_told_its_share_of_the_learners_card_is_counted_on_it_though_it_names_the_card(
    cards,
):
    cards(120)
    environment = "environment: {CUDA_VISIBLE_DEVICES: '0'}"
    found = memory_of(f"student.server={{{environment}, arguments: ['--gpu-memory-utilization=0.25']}}")
    assert found.passed
    assert "30.0 GB to serve the student" in found.detail
    cards(48, 80)
    told = "student.server={environment: {CUDA_VISIBLE_DEVICES: '0'}, arguments: ['--gpu-memory-utilization=0.5']}"
    assert "to serve" not in memory_of("student.device=cuda:1", told).detail


def test_the_size_of_a_model_is_that_of_its_weights(tmp_path):
    from turnmix.nano import CHECKPOINT

    if not CHECKPOINT.is_dir():
        pytest.skip("nano-student is not in this installation: make student")
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(CHECKPOINT), dtype=torch.float32)
    size = size_of("nano-student", CHECKPOINT / "config.json")
    assert size.parameters == pytest.approx(model.num_parameters(), rel=0.01)


def test_a_cohort_whose_cache_does_not_fit_is_told_with_one_that_does(cards):
    cards(80)
    shape = ["student.model=Qwen/Qwen3-4B", "student.device=cuda", "scaffold.max_tokens=16384"]
    options = [*shape, "student.max_new_tokens=1024"]
    (found,) = check_cohort(load_recipe("minirepo_dagger", options))
    assert not found.passed  # 32 x 17,408 tokens x 36 layers x 2,048 numbers x 4 bytes = 164 GB
    assert "32 conversations of 17,408 tokens take 164.3 GB" in found.detail
    (remedy,) = re.findall(r"student\.cohort_size=\d+", found.detail)
    assert next(check_cohort(load_recipe("minirepo_dagger", [*options, remedy]))).passed
    served = "student.server={endpoint: 'http://host:8000/v1'}"
    assert not list(check_cohort(load_recipe("minirepo_dagger", [*options, served])))
    assert next(check_cohort(load_recipe("minirepo_dagger"))).passed
