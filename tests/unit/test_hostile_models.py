"""A model from a stranger runs no code of its own, and asks for no more than it holds: refused in one line, by name."""

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import turnmix
from chat_models import make_model, make_tokenizer
from peak_memory import MAIN, peak_bytes
from strict_environment import strict_environment
from turnmix.core.errors import UserError
from turnmix.policies.local.loading import load_model, load_renderer

ROOT = Path(turnmix.__file__).parent
SECONDS, BYTES = 60, 1 << 30
DEEP = "[" * 100_000 + "]" * 100_000
OWN_CODE = "from pathlib import Path\nPath({proof!r}).touch()\nclass Own: pass\n"


@pytest.fixture
def model(tmp_path):
    """A whole model in a directory."""
    path = tmp_path / "model"
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(path)
    make_model(len(tokenizer)).save_pretrained(path)
    return path


def changed(path, **values):
    """One file of a model, with other values."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def vocabulary(model):
    changed(model / "config.json", vocab_size=10**12)


def embeddings(model):
    # 4 TB of them would be made, for weights that are not in the file.
    changed(model / "config.json", vocab_size=10**8, hidden_size=10_000)


def width(model):
    changed(model / "config.json", intermediate_size=10**8)


def layers(model):
    changed(model / "config.json", num_hidden_layers=10**9)


def many_digits(model):
    changed(model / "config.json", num_hidden_layers=int("9" * 4000))


def deep_configuration(model):
    (model / "config.json").write_text(f'{{"model_type": "qwen3", "a": {DEEP}}}')


def deep_tokenizer_configuration(model):
    (model / "tokenizer_config.json").write_text(f'{{"a": {DEEP}}}')


def deep_generation_configuration(model):
    (model / "generation_config.json").write_text(f'{{"a": {DEEP}}}')


def large_configuration(model):
    with (model / "config.json").open("r+b") as file:
        file.truncate(1 << 32)


def large_template(model):
    with (model / "chat_template.jinja").open("r+b") as file:
        file.truncate(1 << 32)


def large_vocabulary(model):
    with (model / "tokenizer.json").open("r+b") as file:
        file.truncate(1 << 32)


def a_pipe(model):
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")


def a_pipe_beside(model):
    os.mkfifo(model / "processor_config.json")


def a_device(model):
    (model / "chat_template.jinja").unlink()
    (model / "chat_template.jinja").symlink_to("/dev/zero")


def no_object(model):
    (model / "config.json").write_text("[1]")


def no_number(model):
    changed(model / "config.json", num_attention_heads=0)


def a_list_for_a_number(model):
    changed(model / "config.json", hidden_size=[1])


def a_header_without_end(model):
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + content[8:])


def a_tensor_beyond_the_file(model):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}).encode()
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


HOSTILE = {
    vocabulary: "config.json: vocab_size: 1000000000000: no model has more than 268,435,456",
    embeddings: "config.json: it speaks of 1,000,",
    width: "config.json: it speaks of 6,400,",
    layers: "config.json: num_hidden_layers: 1000000000: no model has more than 10,000",
    many_digits: "config.json: num_hidden_layers: 9999",
    deep_configuration: "config.json: nested more than 100 levels deep",
    deep_tokenizer_configuration: "tokenizer_config.json: nested more than 100 levels deep",
    deep_generation_configuration: "generation_config.json: nested more than 100 levels deep",
    large_configuration: "config.json: it is larger than 16 MiB",
    large_template: "chat_template.jinja: it is larger than 1 MiB",
    large_vocabulary: "tokenizer.json: it is larger than 256 MiB",
    a_pipe: "config.json: it is no regular file",
    a_pipe_beside: "processor_config.json: it is no regular file",
    a_device: "chat_template.jinja: it is no regular file",
    no_object: "config.json: it holds no JSON object",
    no_number: "cannot be loaded",
    a_list_for_a_number: "cannot be loaded",
    a_header_without_end: "cannot be loaded",
    a_tensor_beyond_the_file: "cannot be loaded",
}


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda change: change.__name__)
def test_a_hostile_model_is_refused_in_one_line_that_names_the_file(model, hostile):
    hostile(model)
    began = time.process_time()
    with pytest.raises(UserError) as raised:
        load_model(model)
    (line,) = raised.value.lines
    assert line.startswith(f"student.model: {model} ")
    assert HOSTILE[hostile] in line
    assert len(line) < 4100
    assert time.process_time() - began < SECONDS


def test_a_model_that_is_none_of_these_is_loaded(model):
    assert load_model(model)[0].config.num_hidden_layers == 2
    assert load_renderer(model)[1].format.name == "hermes"


def own_architecture(model, proof):
    """Code beside the weights, as `trust_remote_code` would run it."""
    for kind in ("configuration", "modeling", "tokenization"):
        (model / f"{kind}_own.py").write_text(OWN_CODE.format(proof=str(proof)))
    own = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "modeling_own.Own"}
    changed(model / "config.json", model_type="own", auto_map=own, architectures=["Own"])
    tokenizers = ["tokenization_own.Own", "tokenization_own.Own"]
    changed(model / "tokenizer_config.json", tokenizer_class="Own", auto_map={"AutoTokenizer": tokenizers})


def own_tokenizer(model, proof):
    (model / "tokenization_own.py").write_text(OWN_CODE.format(proof=str(proof)))
    own = {"AutoTokenizer": ["tokenization_own.Own", "tokenization_own.Own"]}
    changed(model / "tokenizer_config.json", tokenizer_class="Own", auto_map=own)


@pytest.mark.parametrize("own", [own_architecture, own_tokenizer], ids=lambda own: own.__name__)
def test_a_models_own_code_is_not_run_and_nobody_is_asked_whether_it_may(model, tmp_path, own):
    own(model, tmp_path / "proof")
    (tmp_path / "r.yaml").write_text(f"method: sft\nstudent: {{model: {model}}}\n")
    commands = (("doctor", "r.yaml"), ("train", "r.yaml"), ("evaluate", str(model), "r.yaml"))
    # A tokenizer that transformers can read without the code is read so: then a run would begin.
    for words in commands if own is own_architecture else commands[:1]:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            cwd=tmp_path,
            env=strict_environment(),
            # Whoever asks is told yes.
            input="y\n" * 20,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = [line for line in (done.stdout + done.stderr).splitlines() if "student.model" in line]
        told = f"student.model: {model} brings code of its own, which is not run"
        if own is own_architecture:
            assert (done.returncode, len(said)) == (1 if words[0] == "doctor" else 2, 1)
            assert told in said[0]
        assert "[y/N]" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "proof").exists()
        assert peak_bytes(tmp_path) < BYTES


class Pickled:
    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (self.proof,)


def test_weights_that_are_a_pickle_are_not_read(model, tmp_path):
    (model / "model.safetensors").unlink()
    torch.save({"a": Pickled(str(tmp_path / "proof"))}, model / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded") as raised:
        load_model(model)
    assert "safetensors" in str(raised.value)
    assert not (tmp_path / "proof").exists()


def test_no_library_may_run_a_models_code():
    """By every call: what a library does when it is not told may change."""
    told_nothing = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            loads = name.endswith((".from_pretrained", ".from_config", "pipeline"))
            is_safe = options.get("trust_remote_code") == "False" or name.startswith("GenerationConfig.")
            unpickles = name in ("torch.load", "pickle.load", "pickle.loads", "joblib.load", "numpy.load")
            if (loads and not is_safe) or (unpickles and options.get("weights_only") != "True"):
                told_nothing.append(f"{path.relative_to(ROOT)}:{node.lineno}: {name}")
        assert "--trust" + "-remote-code" not in path.read_text(encoding="utf-8")
    assert told_nothing == []
