"""Two models can be compared token by token only when their tokens are the same."""

import copy

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from chat_models import make_tokenizer
from turnmix.core.errors import UserError
from turnmix.rendering.vocabulary import check_same_vocabulary


def named(tokenizer, name):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.name_or_path = name
    return tokenizer


def words(name, **vocabulary):
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, name_or_path=name)


def test_equal_vocabularies_give_their_size_which_counts_added_tokens():
    student, teacher = named(make_tokenizer(), "student"), named(make_tokenizer(), "teacher")
    size = check_same_vocabulary(student, teacher)
    assert size == len(student) == max(student.get_vocab().values()) + 1
    assert check_same_vocabulary(words("a", a=0, b=7), words("b", b=7, a=0)) == 8


@pytest.mark.parametrize(
    ("teacher", "difference"),
    [
        ({"a": 0, "b": 2, "c": 1}, "the token 1 is 'c' to the teacher and 'b' to the student"),
        ({"a": 0, "b": 1}, "the token 2 is None to the teacher and 'c' to the student"),
        ({"a": 0, "b": 1, "c": 2, "d": 3}, "of 4 and 3 tokens: the token 3 is 'd' to the teacher and None"),
    ],
)
def test_a_difference_names_both_models_the_first_token_and_the_remedy(teacher, difference):
    with pytest.raises(UserError) as error:
        check_same_vocabulary(words("org/student", a=0, b=1, c=2), words("org/teacher", **teacher))
    assert difference in str(error.value)
    for part in ("teacher.model: 'org/teacher'", "'org/student'", "choose a teacher with the student's"):
        assert part in str(error.value)
