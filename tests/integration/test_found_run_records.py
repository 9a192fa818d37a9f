"""What the files and checkpoints of somebody else's run hold: each command ends in its work or in one line."""

import json
import os
import random
import shutil

import pytest
import yaml
from scaffold_in_sandbox import needs_sandbox
from served_students import has_sandbox
from strangers import SMALL, embedded_student, laid_over, strangers_run, turnmix

from turnmix.cli import main


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A run of one iteration that has ended, and an evaluation of it."""
    if not has_sandbox():
        pytest.skip("no sandbox can be made here")
    folder = tmp_path_factory.mktemp("whole")
    (folder / "small.yaml").write_text(yaml.safe_dump(laid_over(SMALL, {"data": {"filter": "all"}})))
    assert main(["train", str(folder / "small.yaml"), "--run", str(folder / "run")]) == 0
    assert main(["evaluate", str(folder / "run")]) == 0
    return folder / "run"


WRONG = [
    None,
    -1,
    1 << 70,
    10**400,
    float("nan"),
    float("-inf"),
    0.5,
    True,
    "x\x1b[31m\n",
    [],
    [[]],
    {},
    {"a": None},
]
EVALUATED = "evaluations/own-iteration-001"
READ_BY_SHOW = {
    "trajectories.jsonl": [["{run}"], ["{run}", "i001-00000"], ["{run}", "--unresolved"]],
    "summary.json": [["{run}"]],
    "clock.json": [["{run}"]],
    f"{EVALUATED}/evaluation.json": [[f"{{run}}/{EVALUATED}"]],
    f"{EVALUATED}/results.json": [[f"{{run}}/{EVALUATED}"]],
}


def places(value, above=()):
    yield above
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*above, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*above, 0))


def replaced(value, place, wrong):
    if not place:
        return wrong
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[place[0]] = replaced(value[place[0]], place[1:], wrong)
    return copied


@pytest.mark.parametrize("name", READ_BY_SHOW)
def test_whatever_a_record_holds_showing_it_ends_in_figures_or_in_one_line(name, whole_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    first, *others = (
        (run / name).read_text().splitlines() if name.endswith("l") else [(run / name).read_text()]
    )
    record = json.loads(first)
    generator = random.Random(name)
    for _ in range(60):
        place, wrong = generator.choice(list(places(record))), generator.choice(WRONG)
        changed = json.dumps(replaced(record, place, wrong))
        (run / name).write_text("\n".join([changed, *others]) + "\n")
        for words in READ_BY_SHOW[name]:
            code, said = turnmix(capsys, "show", *(word.format(run=run) for word in words))
            assert code in (0, 2), (place, wrong)
            assert "\x1b" not in said
            if code == 2:
                assert said.splitlines()[-1].startswith("turnmix: "), (place, wrong, said)


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "evaluations.jsonl", "versions.json", "clock.json", "recipe.yaml"]
)
def test_whatever_a_record_holds_going_on_with_the_run_ends_in_one_line_or_in_the_run(
    name, whole_run, tmp_path, capsys
):
    generator = random.Random(name)
    for number in range(3):
        run = tmp_path / f"run{number}"
        shutil.copytree(whole_run, run)
        (run / "summary.json").unlink()
        read, write = (yaml.safe_load, yaml.safe_dump) if name.endswith("yaml") else (json.loads, json.dumps)
        texts = (
            (run / name).read_text().splitlines() if name.endswith("l") and name != "recipe.yaml" else None
        )
        records = [read(text) for text in texts or [(run / name).read_text()]]
        at = generator.randrange(len(records))
        place = generator.choice(list(places(records[at])))
        records[at] = replaced(records[at], place, generator.choice(WRONG[:3] + WRONG[6:]))
        (run / name).write_text("\n".join(map(write, records)) + "\n")
        for words in (["train", "--resume", run], ["evaluate", run]):
            code, said = turnmix(capsys, *words)
            assert code in (0, 1, 2)
            assert "Traceback" not in said


@needs_sandbox
@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_damaged_configuration_of_a_found_checkpoint_is_told_in_one_line(
    file, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdin", None)
    run = strangers_run(tmp_path)
    checkpoint = run / "checkpoints" / "iteration-001"
    shutil.copytree(embedded_student(), checkpoint)
    held = json.loads((checkpoint / file).read_text())
    for wrong in ([], {**held, "eos_token_id": {}, "hidden_size": [], "rope_parameters": []}):
        (checkpoint / file).write_text(json.dumps(wrong))
        code, said = turnmix(capsys, "evaluate", run, "--output", tmp_path / f"output-{len(wrong)}")
        assert code in (0, 2), said
        assert "Traceback" not in said


def test_a_found_checkpoint_brings_no_code_and_asks_nothing(tmp_path, capsys, monkeypatch):
    run = strangers_run(tmp_path)
    checkpoint = run / "checkpoints" / "iteration-001"
    shutil.copytree(embedded_student(), checkpoint)
    module = f"open({str(tmp_path / 'started')!r}, 'w')\nfrom transformers import PretrainedConfig as Mine\n"
    (checkpoint / "mine.py").write_text(module)
    configuration = json.loads((checkpoint / "config.json").read_text())
    own_code = {
        "AutoConfig": "mine.Mine",
        "AutoModelForCausalLM": "mine.Mine",
        "AutoTokenizer": ["mine.Mine", None],
    }
    for kind in ("mine", configuration["model_type"]):
        changed = {**configuration, "model_type": kind, "auto_map": own_code}
        (checkpoint / "config.json").write_text(json.dumps(changed))
        tokenizer = json.loads((checkpoint / "tokenizer_config.json").read_text())
        (checkpoint / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "auto_map": own_code}))
        monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question was asked"))
        _, said = turnmix(capsys, "evaluate", run, "--output", tmp_path / kind)
        assert not (tmp_path / "started").exists()
        assert "Traceback" not in said


def test_a_pickle_in_the_place_of_the_optimisers_state_is_not_run(whole_run, tmp_path, capsys):
    import pickle

    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    (run / "summary.json").unlink()
    (run / "metrics.jsonl").unlink()

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "started"),)

    (run / "checkpoints" / "iteration-001" / "learner.pt").write_bytes(pickle.dumps(Attack(), protocol=2))
    code, said = turnmix(capsys, "train", "--resume", run)
    assert (code, (tmp_path / "started").exists()) == (2, False)
    assert "cannot be loaded" in said


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "generation_config.json", "added.json"]
)
def test_a_pipe_in_a_found_checkpoint_is_named_and_nobody_waits_for_it(name, tmp_path, capsys):
    run = strangers_run(tmp_path)
    checkpoint = run / "checkpoints" / "iteration-001"
    shutil.copytree(embedded_student(), checkpoint)
    (checkpoint / "second.safetensors").write_bytes(b"")
    (checkpoint / name).unlink(missing_ok=True)
    os.mkfifo(checkpoint / name)
    code, said = turnmix(capsys, "evaluate", run)
    assert code == 2
    assert f"{name}: it is no regular file" in said


def test_an_evaluation_that_came_with_a_run_is_not_taken_for_one_that_was_made_here(
    whole_run, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(whole_run, run)
    code, said = turnmix(capsys, "evaluate", run)
    assert code == 0
    assert f"were found in {run / EVALUATED}, which was not made by you on this machine" in said
    assert "not made by you" not in turnmix(capsys, "evaluate", whole_run)[1]
