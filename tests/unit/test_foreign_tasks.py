"""Tasks of the user's own: rows with an id and anything, of whose world TurnMix knows nothing."""

import pytest

from turnmix.core.errors import UserError
from turnmix.environments.foreign import ForeignTasks, ForeignTaskSettings


def source(tmp_path, text, **named):
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return ForeignTasks(ForeignTaskSettings(path=path, **named))


def test_a_row_is_an_id_and_whatever_a_scaffold_needs(tmp_path):
    tasks = source(
        tmp_path,
        '{"id": "a", "prompt": "Say a.", "database": [1]}\n\n{"id": "b", "problem_statement": "B"}\n',
    ).tasks("train")
    assert [(task.id, task.problem_statement) for task in tasks] == [("a", "Say a."), ("b", "B")]
    assert tasks[0].fields == {"id": "a", "prompt": "Say a.", "database": [1]}


def test_the_holdout_is_drawn_by_id_and_seed_whatever_the_order(tmp_path):
    rows = [f'{{"id": "{name}"}}\n' for name in "abcdef"]
    held_out = []
    for lines, seed in ((rows, 0), (rows[::-1], 0), (rows, 1)):
        made = source(tmp_path, "".join(lines), holdout=2, seed=seed)
        held_out.append({task.id for task in made.tasks("holdout")})
        assert len(made.tasks("train")) == 4
    assert held_out[0] == held_out[1] != held_out[2]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds 0 tasks"),
        ('{"id": "a"}', "holds 1 tasks"),
        ("{", "line 1: it is no JSON"),
        ('{"id": "a"}\n[1]', "line 2: it is a list: write one JSON object a line"),
        ('{"prompt": "x"}', "line 1: id: there is none"),
        ('{"id": 3}', "id: it is 3"),
        ('{"id": ""}', "id: it is ''"),
        ('{"id": "a", "prompt": 3}', "prompt: it is a int"),
        ('{"id": "a"}\n{"id": "a"}', "line 2: the id 'a' is that of line 1"),
        (b"\xff\n", "line 1: it is no JSON"),
    ],
)
def test_a_file_that_holds_no_tasks_is_refused_by_its_line(tmp_path, text, told):
    with pytest.raises(UserError) as refused:
        source(tmp_path, text, holdout=1)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_refused_and_so_is_an_environment(tmp_path):
    with pytest.raises(UserError, match=r"tasks\.path: .* is not there"):
        ForeignTasks(ForeignTaskSettings(path=tmp_path / "none"))
    made = source(tmp_path, '{"id": "a"}')
    with pytest.raises(UserError, match="turnmix gateway"):
        made.environment(made.tasks("train")[0])
