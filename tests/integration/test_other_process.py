"""Learning depends on nothing that a process brings along."""

import subprocess
import sys
from pathlib import Path

import torch

PROGRAM = """
import sys, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(int(sys.argv[2]))
from tiny_student import batch, digest, fitted
print(digest(fitted(batch())[0]))
"""


def test_the_same_input_gives_the_same_weights_in_every_process():
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(Path(__file__).parents[1] / "unit"),
        str(torch.get_num_threads()),
    ]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    (first, _), (second, _) = (process.communicate(timeout=600) for process in processes)
    assert first == second
    assert len(first.strip()) >= 32
