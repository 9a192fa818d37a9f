"""nano-student: a one-million-parameter Qwen3 that knows the tools' format and copies names, but decides poorly.

`CHECKPOINT` is where its base checkpoint is shipped; `python -m turnmix.nano.pretrain` makes it again from nothing.
`TEACHER` is where nano-teacher is: a model with the same tokenizer that decides well.
`BABYAI` is where babyai-student is: one that was made from random walks through BabyAI.
"""

from pathlib import Path

CHECKPOINT = Path(__file__).parent / "checkpoint"
TEACHER = Path(__file__).parent / "teacher"
BABYAI = Path(__file__).parent / "babyai"
