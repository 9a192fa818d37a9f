"""TRL's SFTTrainer trains on what `turnmix export` writes, to the weights that TurnMix has of the same rows."""

import importlib.util
from pathlib import Path

import pytest

from counting_run import counting_run
from turnmix.cli import main
from turnmix.nano import CHECKPOINT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("trl") is None, reason="trl is not installed: pip install 'turnmix[trl]'"
)
STEPS, RATE = 2, 1e-3


def tokenizer_that_marks_turns():
    """As TRL's own training templates do: which tokens are the assistant's, its end of turn included."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    begun = "{{- '<|im_start|>assistant\\n' + message.content }}"
    ended = "{%- endfor %}\n        {{- '<|im_end|>\\n' }}\n    {%- elif message.role == 'tool' %}"
    template = tokenizer.chat_template
    assert begun in template
    assert ended in template
    tokenizer.chat_template = template.replace(
        begun, "{{- '<|im_start|>assistant\\n' }}{% generation %}{{- message.content }}"
    ).replace(
        ended,
        "{%- endfor %}\n        {{- '<|im_end|>' }}{% endgeneration %}{{- '\\n' }}\n"
        "    {%- elif message.role == 'tool' %}",
    )
    return tokenizer


def weights(model):
    import torch

    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).double()


def nano(location):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(location, dtype=torch.float32)


def trained_by_trl(rows, directory):
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    dataset = load_dataset("json", data_files=rows, split="train", cache_dir=str(directory / "cache"))
    settings = SFTConfig(
        output_dir=str(directory),
        assistant_only_loss=True,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(dataset),
        num_train_epochs=STEPS,
        max_length=None,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    model = nano(CHECKPOINT)
    trainer = SFTTrainer(
        model=model, args=settings, train_dataset=dataset, processing_class=tokenizer_that_marks_turns()
    )
    trainer.train()
    assert trainer.state.global_step == STEPS
    return len(dataset), weights(model)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("options", [["--evaluations"], ["--labels"]], ids=["executed paths", "labels"])
def test_trl_learns_exported_rows_to_the_weights_of_turnmix(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counting_run(tmp_path / "counted", num_tasks=3, student_is_readable="--evaluations" in options)
    assert main(["export", "counted", "--to", "messages", *options, "--output", "rows.jsonl"]) == 0
    num_rows, theirs = trained_by_trl("rows.jsonl", tmp_path / "trl")
    words = [
        "data.messages=rows.jsonl",
        f"learner.batch_size={num_rows}",
        f"learner.epochs={STEPS}",
        f"learner.learning_rate={RATE}",
    ]
    assert main(["train", "sft", *words, "--run", "ours"]) == 0
    ours = weights(nano(Path("ours/checkpoints/iteration-001")))
    update = (ours - weights(nano(CHECKPOINT))).norm()
    assert ((theirs - ours).norm() / update).item() < 1e-3
