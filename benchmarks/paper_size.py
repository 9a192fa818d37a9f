"""What trajectories of the paper's size cost between the store and the model: is every cost in step with the work?

    OMP_NUM_THREADS=1 python benchmarks/paper_size.py

Synthetic trajectories of true shape (100 turns that show 2,000 characters each, 64 to 72 thousand tokens of a
vocabulary as large as Qwen's, a label in every state, beta 0.6) are written to a run. Then one process that has
done nothing before opens it, reads half of the trajectories, renders their labels, grows the trees and packs
them into passes, as the learner does, for two epochs without a model; another process does so with all of them.

rows_ratio                     rows computed, over those of trees that are not split: the largest figure among the
                               paper recipe's `tokens_per_pass` and the default
render_seconds_per_trajectory  CPU seconds from transitions to passes, trees included, all in the first epoch
render_over_tokenizing         that, over what their tokenizer alone takes in the same process, each text read once:
                               this one does not depend on what else the machine does
peak_mb_growth                 by how many MB the peak memory of the second process is larger than the first's
open_seconds_per_gb            CPU seconds to open the run, a GB of trajectories

Each is printed beside what half as many trajectories cost; rendering also beside trajectories of half as many
turns (2.0 is linear, 4.0 quadratic). No GPU, no network, one thread, CPU seconds.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from synthetic_text import make_renderer, make_tokenizer, words
from tokenizers import Tokenizer

from turnmix.core.message import Message, ToolCall
from turnmix.core.trajectory import Action, State, StopReason, Trajectory, Turn
from turnmix.environments.patch_verdict import patch_verdict
from turnmix.methods.targets import imitate, teacher_label
from turnmix.scaffold.bash import Bash
from turnmix.store.run_directory import RunDirectory
from turnmix.training.batching import Cost, deal
from turnmix.training.forest import grow_forest
from turnmix.training.learner_settings import LearnerSettings
from turnmix.training.tree import RenderedTransition, build_tree, split_trees

VOCABULARY = 151_936
MERGED = 8000  # of it; with more, Python's library would be fewer tokens than a coding agent's texts are
MAX_CONTEXT = 65_536
PAPER_BUDGET = 81_920
DEFAULT_BUDGET = LearnerSettings().tokens_per_pass
OTHER_BUDGETS = (2048, 32_768, 65_536, 73_728, 131_072)
BATCH, EPOCHS = 16, 2
COST = Cost(per_row=3.6e9, per_pair=2 * 36 * 32 * 128, per_label=151_936 * 2560)  # Qwen3-4B
PROMPT, OBSERVATION, ACTION = 9000, 2000, 500  # characters
BETA = 0.6
TOKENIZED = 4  # trajectories, before and after all are rendered
TOKENIZER = "tokenizer.json"


def make_trajectory(number, turns, renderer):
    generator = random.Random(number)
    tools = (Bash().specification,)
    prompt = tuple(Message(role=role, content=words(generator, PROMPT // 2)) for role in ("system", "user"))

    def action(*, is_students=False):
        call = ToolCall(id="call_0", name=tools[0].name, arguments={"command": words(generator, ACTION // 2)})
        said = Action(
            message=Message(role="assistant", content=words(generator, ACTION // 2), tool_calls=(call,))
        )
        if not is_students:
            return said
        ids = tuple(renderer.target_ids(State(messages=prompt[1:], tools=tools), said))
        return replace(said, token_ids=ids, logprobs=tuple(-generator.expovariate(3) for _ in ids))

    def turn():
        is_teachers = generator.random() < BETA
        taken = action(is_students=not is_teachers)
        return Turn(
            actor="teacher" if is_teachers else "student",
            action=taken,
            observation=(Message(role="tool", content=words(generator, OBSERVATION), tool_call_id="call_0"),),
            label=taken if is_teachers else action(),
            seconds={"act": 12.5, "label": 8.25, "step": 0.75},
        )

    return Trajectory(
        id=f"i001-{number:05}",
        task_id=f"task-{number}",
        iteration=1,
        seed=number,
        tools=tools,
        prompt=prompt,
        turns=tuple(turn() for _ in range(turns)),
        stop_reason=StopReason.finished,
        verdict=patch_verdict(
            resolved=True, submitted=True, passed=1, failed=0, patch=words(generator, 1500)
        ),
        beta=BETA,
    )


def write_run(path, num_trajectories, turns, renderer):
    """A run of so many trajectories; CPU seconds to store one, and its bytes."""
    run = RunDirectory.create(path, recipe_yaml="method: dagger\n")
    seconds = 0.0
    for number in range(num_trajectories):
        trajectory = make_trajectory(number, turns, renderer)
        began = time.process_time()
        run.trajectories.append(trajectory)
        seconds += time.process_time() - began
    run.close()
    return seconds / num_trajectories, bytes_of(path) / num_trajectories


def bytes_of(run):
    return (run / "trajectories.jsonl").stat().st_size


def open_seconds_per_gb(run, count):
    """Until all its trajectories are known. The least of five: the first one also waits for the disk."""
    taken = []
    for _ in range(5):
        began = time.process_time()
        assert len(RunDirectory.read(run).trajectories) == count
        taken.append(time.process_time() - began)
    return min(taken) / bytes_of(run) * 1e9


def learn(run, renderer, count):
    """What a fit does before and between the passes of the model; CPU seconds of the first epoch."""
    trajectories = RunDirectory.read(run).trajectories
    taught = imitate(trajectories.read(trajectories.ids[:count]), teacher_label)
    assert not taught.untaught
    began = time.process_time()
    settings = LearnerSettings(tokens_per_pass=PAPER_BUDGET)
    forest = grow_forest(
        taught.transitions, renderer, settings, max_context=MAX_CONTEXT, needs_reference_logprobs=False
    )
    first = None
    for _ in range(EPOCHS):
        for start in range(0, count, BATCH):
            trees = forest.trees_of(range(start, min(count, start + BATCH)))
            deal(trees, cost=COST, budget=PAPER_BUDGET, num_ranks=1)
        first = first or time.process_time() - began
    return first


def tokenize(run, tokenizer, count):
    """CPU seconds in which a trajectory's texts are encoded one by one, less what the student sampled; a teacher's turn
    is read twice, in the prompt and as a target."""
    log = RunDirectory.read(run).trajectories
    texts = [
        text
        for trajectory in log.read(log.ids[:count])
        for messages in (trajectory.prompt, *map(told_in, trajectory.turns))
        for message in messages
        for text in (message.content, *(call.arguments["command"] for call in message.tool_calls))
    ]
    began = time.process_time()
    for text in texts:
        tokenizer.encode_batch_fast([text], add_special_tokens=False)
    return (time.process_time() - began) / count


def told_in(turn):
    """The messages of a turn whose tokens a tokenizer has to find."""
    acted = (turn.action.message,) if turn.actor == "teacher" else ()
    return (*acted, turn.label.message, *turn.observation)


def peak_mb():
    """Of this process since its program began."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1000


def measure(folder, run, count):
    """What the process that has done nothing before prints."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    renderer = make_renderer(tokenizer)
    before = tokenize(folder / run, tokenizer, min(count, TOKENIZED))
    seconds = learn(folder / run, renderer, count)
    behind = tokenize(folder / run, tokenizer, min(count, TOKENIZED))
    tokenizing = (before + behind) / 2
    print(json.dumps({"seconds": seconds / count, "tokenizing": tokenizing, "peak_mb": peak_mb()}))


def measured(folder, run, count):
    """As `measure`, in a process of its own."""
    program = [sys.executable, __file__, "--measure", str(folder), run, str(count)]
    done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def rendered(run, renderer, count):
    """Of each trajectory what is taught, and the tokens of the longest path."""
    log = RunDirectory.read(run).trajectories
    for trajectory in log.read(log.ids[:count]):
        items = [
            RenderedTransition(
                prompt_ids=tuple(renderer.prompt_ids(each.state)),
                target_ids=tuple(renderer.target_ids(each.state, each.target)),
                group=trajectory.id,
            )
            for each in imitate([trajectory], teacher_label).transitions
        ]
        whole = max(len(item.prompt_ids) + len(item.target_ids) for item in items)
        items = [item for item in items if len(item.prompt_ids) + len(item.target_ids) <= MAX_CONTEXT]
        yield items, whole


def rows_by_budget(run, renderer, count):
    """Prints the table of rows; gives rows over those of trees that are not split, for each budget."""
    budgets = sorted({PAPER_BUDGET, DEFAULT_BUDGET, *OTHER_BUDGETS})
    whole, shown = 0, []
    sizes = {budget: [] for budget in budgets}
    for items, tokens in rendered(run, renderer, count):
        unsplit = len(build_tree(items))
        shown.append(f"{tokens:,} ({unsplit:,} rows)")
        whole += unsplit
        for budget in budgets:
            sizes[budget] += map(len, split_trees(items, budget))
    print(f"tokens of the longest state, and rows of the whole tree: {', '.join(shown)}")
    print(f"{'tokens_per_pass':>17}{'trees':>8}{'largest':>10}{'rows':>11}{'rows / unsplit':>16}")
    ratios = {budget: sum(rows) / whole for budget, rows in sizes.items()}
    for budget, rows in sizes.items():
        name = {PAPER_BUDGET: "the paper recipe's", DEFAULT_BUDGET: "the default"}.get(budget, "")
        line = f"{budget:17,}{len(rows):8}{max(rows):10,}{sum(rows):11,}{ratios[budget]:16.2f}  {name}"
        print(line.rstrip())
    return ratios


def compare(options, folder):
    """Everything; prints the tables and gives the figures."""
    half, count, turns = options.trajectories // 2, options.trajectories, options.turns
    tokenizer = make_tokenizer(merged=MERGED, vocabulary=VOCABULARY)
    tokenizer.save(str(folder / TOKENIZER))
    renderer = make_renderer(tokenizer)
    store_seconds, size = write_run(folder / "whole", count, turns, renderer)
    half_store_seconds, _ = write_run(folder / "half", half, turns, renderer)
    write_run(folder / "short", half, turns // 2, renderer)
    sizes = {"whole": count, "half": half}
    opened = {name: open_seconds_per_gb(folder / name, held) for name, held in sizes.items()}
    print(f"{count} trajectories of {turns} turns, {size / 1e3:,.0f} KB each in the store")
    ratios = rows_by_budget(folder / "whole", renderer, options.split)
    found = {
        "whole": measured(folder, "whole", count),
        "half": measured(folder, "whole", half),
        "short": measured(folder, "short", min(half, 4)),
    }
    table = [
        ("store a trajectory, CPU ms", 1e3 * half_store_seconds, 1e3 * store_seconds),
        ("open the run, CPU s a GB", opened["half"], opened["whole"]),
        ("render and pack a trajectory, CPU s", found["half"]["seconds"], found["whole"]["seconds"]),
        ("tokenize its texts alone, CPU s", found["half"]["tokenizing"], found["whole"]["tokenizing"]),
        ("peak memory, MB", found["half"]["peak_mb"], found["whole"]["peak_mb"]),
    ]
    print(f"\n{'trajectories':37}{half:>10}{count:>10}{'growth':>10}")
    for name, least, most in table:
        print(f"{name:37}{least:10.3f}{most:10.3f}{most / least:10.2f}")
    by_turns = found["whole"]["seconds"] / found["short"]["seconds"]
    print(f"\n{'turns':37}{turns // 2:>10}{turns:>10}{'growth':>10}")
    print(
        f"{table[2][0]:37}{found['short']['seconds']:10.3f}{found['whole']['seconds']:10.3f}{by_turns:10.2f}"
    )
    return {
        "rows_ratio": round(max(ratios[PAPER_BUDGET], ratios[DEFAULT_BUDGET]), 3),
        "rows_ratio_paper": round(ratios[PAPER_BUDGET], 3),
        "rows_ratio_default": round(ratios[DEFAULT_BUDGET], 3),
        "rows_ratio_largest": round(max(ratios.values()), 3),
        "render_seconds_per_trajectory": round(found["whole"]["seconds"], 3),
        "render_over_tokenizing": round(found["whole"]["seconds"] / found["whole"]["tokenizing"], 2),
        "render_growth_with_trajectories": round(found["whole"]["seconds"] / found["half"]["seconds"], 2),
        "render_growth_with_turns": round(by_turns, 2),
        "peak_mb_growth": round(found["whole"]["peak_mb"] - found["half"]["peak_mb"], 1),
        "peak_mb": round(found["whole"]["peak_mb"]),
        "open_seconds_per_gb": round(opened["whole"], 3),
        "open_growth": round(opened["whole"] / opened["half"], 2),
        "trajectories": count,
        "turns": turns,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trajectories", type=int, default=64)
    parser.add_argument("--turns", type=int, default=100)
    parser.add_argument("--split", type=int, default=2, help="trajectories whose rows are counted")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        folder, run, count = options.measure
        measure(Path(folder), run, int(count))
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = compare(options, Path(folder))
    print(json.dumps({"benchmark": "paper_size", **figures}))


if __name__ == "__main__":
    main()
