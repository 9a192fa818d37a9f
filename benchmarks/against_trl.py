"""The same trajectories, labels and optimiser in TurnMix and in TRL's SFTTrainer: time and weights.

    pip install 'turnmix[trl]'
    OMP_NUM_THREADS=1 python benchmarks/against_trl.py

Three trajectories of `--turns` turns, half of them by the student; one trajectory is one step of AdamW on the
mean over its label tokens. TRL gets every transition as its own pre-tokenised row with a `completion_mask`, and
`completion_only_loss=True`, without which that mask is silently ignored. Its collator pads a batch to its longest
row and its padding-free mode needs flash-attention, so TRL takes one row at a time and accumulates gradients
over a trajectory: it computes no padding. It computes float32, without activation checkpointing, as TurnMix
does; both of TRL's defaults for these would slow it down here. What TRL computes beside the loss (entropy,
accuracy of tokens) is part of its time, what TurnMix does to build trees is part of its own. Importing and
preparing the data set are neither's. Both sides take turns, one thread, CPU seconds of the process.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from copy import deepcopy

import torch
from transformers import Qwen3ForCausalLM
from tree_training import Rollout, cpu_model

from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.training.learner import Learner
from turnmix.training.learner_settings import LearnerSettings

NUM_TRAJECTORIES = 3
LEARNING_RATE, CLIP = 1e-4, 1.0
SEED = 0


class NumberRenderer:
    """Messages whose content is token ids in decimal."""

    def prompt_ids(self, state):
        return [int(word) for message in state.messages for word in message.content.split()]

    def target_ids(self, state, action):
        return [int(word) for word in action.message.content.split()]


def as_message(role, ids):
    return Message(role=role, content=" ".join(map(str, ids)))


def as_transitions(trajectories):
    return [
        Transition(
            state=State(messages=(as_message("user", item.prompt_ids),), tools=()),
            target=Action(message=as_message("assistant", item.target_ids)),
            trajectory_id=str(number),
            task_id="task",
        )
        for number, items in enumerate(trajectories)
        for item in items
    ]


def train_turnmix(model, trajectories):
    """CPU seconds of three steps."""
    settings = LearnerSettings(learning_rate=LEARNING_RATE, gradient_clip=CLIP, batch_size=1, epochs=1)
    learner = Learner(model, NumberRenderer(), settings)
    transitions = as_transitions(trajectories)
    began = time.process_time()
    learner.fit(transitions, generator=random.Random(SEED))
    return time.process_time() - began


def trl_trainer(model, trajectories, directory):
    """A trainer over the transitions in the order in which TurnMix takes the trajectories."""
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    order = list(range(len(trajectories)))
    random.Random(SEED).shuffle(order)
    rows = [item for number in order for item in trajectories[number]]
    dataset = Dataset.from_dict(
        {
            "input_ids": [item.prompt_ids + item.target_ids for item in rows],
            "completion_mask": [[0] * len(item.prompt_ids) + [1] * len(item.target_ids) for item in rows],
        }
    )
    settings = SFTConfig(
        output_dir=directory,
        completion_only_loss=True,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=len(trajectories[0]),
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        max_length=None,
        optim="adamw_torch_fused",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=CLIP,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({"<pad>": 0, "<unk>": 1}, unk_token="<unk>")),
        pad_token="<pad>",
        eos_token="<pad>",
        unk_token="<unk>",
    )
    return SFTTrainer(model=model, args=settings, train_dataset=dataset, processing_class=tokenizer)


def train_trl(model, trajectories):
    """CPU seconds of three steps."""
    with tempfile.TemporaryDirectory() as directory:
        trainer = trl_trainer(model, trajectories, directory)
        began = time.process_time()
        trainer.train()
        taken = time.process_time() - began
    assert trainer.state.global_step == NUM_TRAJECTORIES
    return taken


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).double()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    try:
        import trl
    except ImportError:
        sys.exit("this benchmark needs TRL: install it with pip install 'turnmix[trl]'")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    base = Qwen3ForCausalLM(cpu_model()).eval()
    shape = Rollout(turns=options.turns, beta=0.5)
    trajectories = [
        shape.transitions(base.config.vocab_size, seed=number) for number in range(NUM_TRAJECTORIES)
    ]
    sides = {"TRL SFTTrainer": train_trl, "TurnMix": train_turnmix}
    seconds = {name: [] for name in sides}
    trained = {}
    for _ in range(options.repeats):
        for name, train in sides.items():
            trained[name] = deepcopy(base)
            seconds[name].append(train(trained[name], trajectories))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    before, ours, theirs = (weights(model) for model in (base, trained["TurnMix"], trained["TRL SFTTrainer"]))
    difference = ((ours - theirs).norm() / (ours - before).norm()).item()
    speedup = median["TRL SFTTrainer"] / median["TurnMix"]

    labels = sum(len(item.target_ids) for items in trajectories for item in items)
    print(f"{NUM_TRAJECTORIES} trajectories of {options.turns} turns, {labels:,} label tokens, one step each")
    print(f"trl {trl.__version__}: one transition at a time (its collator would pad), gradients accumulated")
    print(f"{'':16}{'seconds':>9}{'label tokens/s':>16}")
    for name, taken in median.items():
        print(f"{name:16}{taken:9.2f}{labels / taken:16,.0f}")
    print(
        f"weights after {NUM_TRAJECTORIES} steps differ by {difference:.1e} of the update; speed-up {speedup:.2f}x"
    )
    figures = {
        "benchmark": "against_trl",
        "speedup": round(speedup, 2),
        "weight_difference": float(f"{difference:.1e}"),
        "turns": options.turns,
        "trl": trl.__version__,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
