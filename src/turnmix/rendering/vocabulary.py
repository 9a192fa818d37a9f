"""Whether a model knows its tokenizer's tokens, and whether two models speak of the same ones: what reading a prompt
and comparing probabilities need."""

from __future__ import annotations

from typing import Any

from turnmix.core.errors import UserError

_SHOWN = 3


def vocabulary_size(tokenizer: Any) -> int:
    """One more than the highest token of the tokenizer; 0: it has none. A model may be padded to more."""
    return max(tokenizer.get_vocab().values(), default=-1) + 1


def check_embedded(tokenizer: Any, num_embeddings: int, *, field: str) -> None:
    """Does the model have an embedding for each token of its tokenizer? More of them are padding.

    Raises:
        UserError: a prompt may hold a token that the model does not know; names the tokens and the remedy.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    beyond = sorted((index, token) for token, index in vocabulary.items() if index >= num_embeddings)
    if not beyond:
        return
    shown = ", ".join(f"{token!r} ({index})" for index, token in beyond[:_SHOWN])
    more = f" and {len(beyond) - _SHOWN} more" if len(beyond) > _SHOWN else ""
    needed = beyond[-1][0] + 1
    raise UserError(
        f"{field}: {_name(tokenizer)!r}: its tokenizer has {needed} tokens and the model {num_embeddings} embeddings, "
        f"none for {shown}{more}: a text with such a token would end the run; call "
        f"model.resize_token_embeddings({needed}) and save the model, or remove what was added to its tokenizer"
    )


def check_same_vocabulary(student_tokenizer: Any, teacher_tokenizer: Any) -> int:
    """The size of the vocabulary that both tokenizers have. Logits beyond it are padding, to be sliced off:
    models of one family may pad to different sizes.

    Raises:
        UserError: a token id does not mean the same to both; names both models and the remedy.
    """
    student: dict[str, int] = student_tokenizer.get_vocab()
    teacher: dict[str, int] = teacher_tokenizer.get_vocab()
    if student == teacher:
        return vocabulary_size(student_tokenizer)
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
