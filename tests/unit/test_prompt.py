"""The first messages of a trajectory."""

import pytest

from turnmix.core.errors import RecipeError
from turnmix.core.task import Task, Workspace
from turnmix.scaffold.prompt import Prompt, PromptSettings
from turnmix.scaffold.scaffold import ScaffoldSettings

TASK = Task(
    id="t", problem_statement="{working_directory} fails", workspace=Workspace(working_directory="/code")
)


def test_the_bundled_prompt_is_short_and_names_directory_and_problem():
    system, user = Prompt(PromptSettings()).messages(TASK)
    assert len(system.content.split()) <= 40
    assert "/code" in user.content
    assert "{working_directory} fails" in user.content  # braces of a problem statement are text


def test_a_users_files_replace_the_bundled_ones(tmp_path):
    (tmp_path / "system.txt").write_text("")
    (tmp_path / "user.txt").write_text("Fix {problem_statement} {x}")
    settings = PromptSettings(system_file=tmp_path / "system.txt", user_file=tmp_path / "user.txt")
    (user,) = Prompt(settings).messages(TASK)
    assert user.content == "Fix {working_directory} fails {x}"


def test_a_template_without_the_problem_is_refused(tmp_path):
    (tmp_path / "user.txt").write_text("Fix it")
    with pytest.raises(
        RecipeError, match=r"^scaffold\.prompt\.user_file: .*user\.txt .*\{problem_statement\}"
    ):
        Prompt(PromptSettings(user_file=tmp_path / "user.txt"))


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(RecipeError, match=r"^scaffold\.prompt\.system_file: cannot read .*none\.txt"):
        Prompt(PromptSettings(system_file=tmp_path / "none.txt"))


@pytest.mark.parametrize("tools", [[], ["think", "think"], ["teleport"]])
def test_tools_are_named_once_and_known(tools):
    with pytest.raises(ValueError, match="tools"):
        ScaffoldSettings(tools=tools)
