"""Whether two models speak of the same tokens: what a comparison of their probabilities needs."""

from __future__ import annotations

from typing import Any

from turnmix.core.errors import UserError


def check_same_vocabulary(student_tokenizer: Any, teacher_tokenizer: Any) -> int:
    """The size of the vocabulary that both tokenizers have. Logits beyond it are padding, to be sliced off:
    models of one family may pad to different sizes.

    Raises:
        UserError: a token id does not mean the same to both; names both models and the remedy.
    """
    student: dict[str, int] = student_tokenizer.get_vocab()
    teacher: dict[str, int] = teacher_tokenizer.get_vocab()
    if student == teacher:
        return max(student.values()) + 1
    student_by_id = {index: token for token, index in student.items()}
    teacher_by_id = {index: token for token, index in teacher.items()}
    first = min(
        index
        for index in student_by_id.keys() | teacher_by_id.keys()
        if student_by_id.get(index) != teacher_by_id.get(index)
    )
    raise UserError(
        f"teacher.model: {_name(teacher_tokenizer)!r} and student.model {_name(student_tokenizer)!r} have "
        f"different vocabularies, of {len(teacher)} and {len(student)} tokens: the token {first} is "
        f"{teacher_by_id.get(first)!r} to the teacher and {student_by_id.get(first)!r} to the student, so the "
        "teacher's probabilities of the student's tokens mean nothing; choose a teacher with the student's "
        "tokenizer, or a method that learns from the teacher's text, such as dagger"
    )


def _name(tokenizer: Any) -> str:
    return str(tokenizer.name_or_path) or type(tokenizer).__name__
