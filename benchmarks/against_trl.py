"""The same trajectories, labels and optimiser in TurnMix and in TRL's SFTTrainer: time and weights.

    pip install 'turnmix[trl]'
    OMP_NUM_THREADS=1 python benchmarks/against_trl.py

Three trajectories of `--turns` turns, half of them by the student; one trajectory is one step of AdamW on the
mean over its label tokens. TRL gets pre-tokenised rows with a `completion_mask`, and `completion_only_loss=True`,
without which that mask is silently ignored, in three ways:

one by one   every transition is a row
per branch   the executed path is one row with a mask over the teacher's turns, and every label of a student's turn
             a row with its prefix repeated
masked row   the executed path alone, as its users train on several turns. The labels of the student's turns are
             lost, so it is compared by label, and its weights are not those of the others

Its collator pads a batch to its longest row and its padding-free mode needs flash-attention, so TRL takes one row at
a time and accumulates gradients over a trajectory: it computes no padding. It computes float32, without activation
checkpointing, as TurnMix does; both of TRL's defaults for these would slow it down here.

The time of a side begins with messages. All render with the same renderer, new for each, so that all learn the same
tokens; building trees or rows, and what TRL computes beside the loss (entropy, accuracy of tokens), are inside.
Importing, the data set and making the trainer or learner are neither's. `TurnMix, half budget` lets a pass have half
the rows of a tree. All sides take turns, one thread, CPU seconds of the process.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from copy import deepcopy
from functools import partial

import torch
from synthetic_rollout import Rollout
from synthetic_text import make_renderer, make_tokenizer
from transformers import Qwen3ForCausalLM
from tree_training import cpu_model, label_places, masked_row, on_executed_path, rendered

from turnmix.training.learner import Learner
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.tree import build_tree

NUM_TRAJECTORIES = 3
LEARNING_RATE, CLIP = 1e-4, 1.0
SEED = 0


def train_turnmix(model, trajectories, renderer, budget):
    """CPU seconds of three steps."""
    settings = LearnerSettings(
        learning_rate=LEARNING_RATE, gradient_clip=CLIP, batch_size=1, epochs=1, tokens_per_pass=budget
    )
    learner = Learner(model, renderer, settings)
    transitions = [item for items in trajectories for item in items]
    began = time.process_time()
    learner.fit(transitions, generator=random.Random(SEED))
    return time.process_time() - began


def one_by_one(transitions, renderer):
    """Rows of token ids, and the places that predict a label."""
    return [
        (item.prompt_ids + item.target_ids, label_places(item)) for item in rendered(transitions, renderer)
    ]


def per_branch(transitions, renderer):
    items = rendered(transitions, renderer)
    path = max((item.prompt_ids + item.target_ids for item in items), key=len)
    executed = on_executed_path(items)
    kept = {id(item) for item in executed}
    branches = [item for item in items if id(item) not in kept]
    rows = [(path, [place for item in executed for place in label_places(item)])]
    return rows + [(item.prompt_ids + item.target_ids, label_places(item)) for item in branches]


def trl_trainer(model, trajectories, directory):
    """A trainer over rows, in the order in which TurnMix takes their trajectories."""
    from datasets import Dataset, disable_progress_bars
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    disable_progress_bars()
    order = list(range(len(trajectories)))
    random.Random(SEED).shuffle(order)
    rows = [row for number in order for row in trajectories[number]]
    taught = [{place + 1 for place in places} for _, places in rows]
    dataset = Dataset.from_dict(
        {
            "input_ids": [list(ids) for ids, _ in rows],
            "completion_mask": [
                [int(place in labels) for place in range(len(ids))]
                for (ids, _), labels in zip(rows, taught, strict=True)
            ],
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


def train_trl(model, trajectories, renderer, as_rows):
    """CPU seconds of three steps."""
    began = time.process_time()
    rows = [as_rows(transitions, renderer) for transitions in trajectories]
    rendering = time.process_time() - began
    with tempfile.TemporaryDirectory() as directory:
        trainer = trl_trainer(model, rows, directory)
        began = time.process_time()
        trainer.train()
        taken = time.process_time() - began
    assert trainer.state.global_step == NUM_TRAJECTORIES
    return rendering + taken


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
    vocabulary = base.config.vocab_size
    tokenizer = make_tokenizer(merged=vocabulary - 3, vocabulary=vocabulary)
    shape = Rollout(turns=options.turns, beta=0.5)
    trajectories = [shape.written(tokenizer, seed=number) for number in range(NUM_TRAJECTORIES)]
    items = [rendered(transitions, make_renderer(tokenizer)) for transitions in trajectories]
    places = [[place for item in on_executed_path(each) for place in label_places(item)] for each in items]
    where = {id(transitions): each for transitions, each in zip(trajectories, places, strict=True)}
    rows = max(len(build_tree(each)) for each in items)
    labels = sum(item.num_labels for each in items for item in each)
    taught = sum(map(len, places))

    def executed_path(transitions, renderer):
        return masked_row(transitions, renderer, where[id(transitions)])

    sides = {
        "TRL, one by one": partial(train_trl, as_rows=one_by_one),
        "TRL, per branch": partial(train_trl, as_rows=per_branch),
        "TRL, masked row": partial(train_trl, as_rows=executed_path),
        "TurnMix": partial(train_turnmix, budget=rows),
        "TurnMix, half budget": partial(train_turnmix, budget=rows // 2),
    }
    seconds = {name: [] for name in sides}
    trained = {}
    for _ in range(options.repeats):
        for name, train in sides.items():
            trained[name] = deepcopy(base)
            seconds[name].append(train(trained[name], trajectories, make_renderer(tokenizer)))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    before, ours = weights(base), weights(trained["TurnMix"])
    difference = {
        name: ((weights(model) - ours).norm() / (ours - before).norm()).item()
        for name, model in trained.items()
    }

    print(f"{NUM_TRAJECTORIES} trajectories of {options.turns} turns, {labels:,} label tokens, one step each")
    print(f"trl {trl.__version__}: one row at a time (its collator would pad), gradients accumulated")
    print(f"{'':22}{'seconds':>9}{'labels':>8}{'labels/s':>10}{'TurnMix is x':>14}{'weights differ by':>19}")
    for name, taken in median.items():
        known = taught if name == "TRL, masked row" else labels
        faster = taken / median["TurnMix"]
        print(f"{name:22}{taken:9.2f}{known:8,}{known / taken:10,.0f}{faster:14.2f}{difference[name]:19.1e}")
    by_label = median["TRL, masked row"] / taught * labels / median["TurnMix"]
    print(f"the masked row loses the labels of the student's turns, {labels - taught} of {labels};", end=" ")
    print(f"a label takes it {by_label:.2f} times as long as TurnMix; differences are relative to the update")
    exact = ("TRL, one by one", "TRL, per branch", "TurnMix, half budget")
    figures = {
        "benchmark": "against_trl",
        "speedup": round(median["TRL, one by one"] / median["TurnMix"], 2),
        "over_per_branch": round(median["TRL, per branch"] / median["TurnMix"], 2),
        "over_masked_row_by_label": round(by_label, 2),
        "masked_row_labels": round(taught / labels, 3),
        "half_budget_time": round(median["TurnMix, half budget"] / median["TurnMix"], 2),
        "weight_difference": float(f"{max(difference[name] for name in exact):.1e}"),
        "turns": options.turns,
        "trl": trl.__version__,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
