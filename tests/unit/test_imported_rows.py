"""Files of rows are read whole before anything begins; each bad row is named by its file and line."""

import json

import pytest

from chat_rows import ADD, adding_messages, adding_row
from turnmix.core.errors import UserError
from turnmix.exchange import row_files
from turnmix.exchange.imported import import_trajectories


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def imported(*names, iterations=1, seed=0, tools=None):
    return import_trajectories(names, tools=tools, iterations=iterations, seed=seed)


def test_lines_a_list_and_parquet_hold_the_same_trajectories(folder):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    rows = [adding_row(number) for number in range(3)]
    (folder / "rows.jsonl").write_text(lines(rows))
    (folder / "rows.json").write_text(json.dumps(rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet")
    assert len(imported("rows.jsonl")) == 3
    assert imported("rows.jsonl") == imported("rows.json") == imported("rows.parquet")


def test_what_arrow_fills_in_as_null_is_not_there(folder):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    row = adding_row()
    row["messages"][2]["tool_calls"][0]["function"]["arguments"] = {"a": 1, "b": 2}
    row["messages"].insert(
        2,
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "c", "function": {"name": "look", "arguments": {"path": "/"}}}],
        },
    )
    parquet.write_table(pyarrow.Table.from_pylist([row]), folder / "rows.parquet")
    (trajectory,) = imported("rows.parquet")
    calls = [turn.action.message.tool_calls[0].arguments for turn in trajectory.turns[:2]]
    assert calls == [{"path": "/"}, {"a": 1, "b": 2}]


def test_several_files_are_read_in_their_order_those_of_a_pattern_by_name(folder):
    for name in ("b", "a", "c"):
        (folder / f"{name}.jsonl").write_text(lines([adding_row()]))
    tasks = [each.task_id for each in imported("c.jsonl", "*.jsonl")]
    assert tasks == ["c-1", "a-1", "b-1"]


def test_each_row_goes_to_one_iteration_in_an_order_that_the_seed_draws(folder):
    (folder / "rows.jsonl").write_text(lines(adding_row(number) for number in range(7)))
    dealt = imported("rows.jsonl", iterations=3)
    assert [each.id for each in dealt] == [
        *("i001-00000", "i001-00001", "i002-00000", "i002-00001"),
        *("i003-00000", "i003-00001", "i003-00002"),
    ]
    assert {each.task_id for each in dealt} == {f"rows-{line}" for line in range(1, 8)}
    assert imported("rows.jsonl", iterations=3) == dealt
    assert [each.task_id for each in imported("rows.jsonl", iterations=3, seed=1)] != [
        each.task_id for each in dealt
    ]


def test_tools_may_lie_in_a_file_of_their_own(folder):
    (folder / "rows.jsonl").write_text(lines([{"messages": adding_messages()}]))
    (folder / "tools.json").write_text(json.dumps([ADD]))
    (trajectory,) = imported("rows.jsonl", tools="tools.json")
    assert [tool.name for tool in trajectory.tools] == ["add"]
    with pytest.raises(
        UserError, match=r"data\.tools: none\.json: No such file or directory: name a JSON file"
    ):
        imported("rows.jsonl", tools="none.json")


def test_every_bad_row_is_named_by_file_line_field_and_fix(folder):
    bad = [*(adding_row(number) for number in range(2)), {"text": "x"}]
    (folder / "rows.jsonl").write_text(lines(bad) + "{\n\n[1]\n")
    with pytest.raises(UserError) as caught:
        imported("rows.jsonl")
    assert caught.value.lines[0] == (
        "data.messages: rows.jsonl, line 3: messages: is missing (the row has: text): give messages, or prompt and "
        "completion"
    )
    assert caught.value.lines[1].startswith("data.messages: rows.jsonl, line 4: not JSON (")
    assert caught.value.lines[2].startswith("data.messages: rows.jsonl, line 6: is a list, not an object")
    (folder / "many.jsonl").write_text("{}\n" * 30)
    with pytest.raises(UserError) as caught:
        imported("many.jsonl")
    assert (len(caught.value.lines), caught.value.lines[-1]) == (21, "… and 10 more")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.jsonl", None, "none.jsonl is not there: name a file that is"),
        ("none*.jsonl", None, "none*.jsonl matches no file"),
        ("rows.csv", "a,b", "rows.csv is no file of rows: name one that ends in .jsonl"),
        ("rows.jsonl.gz", "", "rows.jsonl.gz is no file of rows: unpack it, and name one that ends in"),
        ("rows.jsonl", "\n", "rows.jsonl: holds no row"),
        ("rows.json", '{"a": 1}\n{"a": 2}', "rows.json is not JSON (Extra data"),
        ("rows.parquet", "PAR1", "rows.parquet is no Parquet file ("),
    ],
)
def test_a_file_that_is_none_of_rows_is_told_with_what_to_do(folder, name, content, complaint):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(UserError) as caught:
        imported(name)
    assert complaint in str(caught.value)
    assert len(caught.value.lines) == 1


def test_a_row_larger_than_any_trajectory_is_not_read_into_memory(folder, monkeypatch):
    monkeypatch.setattr(row_files, "LONGEST_ROW", 1000)
    (folder / "rows.jsonl").write_text(lines([adding_row(note="x" * 2000)]))
    with pytest.raises(UserError, match=r"rows\.jsonl: line 1 is longer than"):
        imported("rows.jsonl")


def test_more_iterations_than_rows_are_refused(folder):
    (folder / "rows.jsonl").write_text(lines([adding_row()]))
    with pytest.raises(UserError, match=r"iterations: 2: data\.messages holds 1 rows: set it to 1 or less"):
        imported("rows.jsonl", iterations=2)
