"""A language model as a teacher: asked in any trajectory at any moment, it answers, and the same each time."""

import asyncio
from copy import deepcopy

import pytest

from chat_models import HERMES_TEMPLATE, conversation, make_model, make_tokenizer
from stored_checkpoints import store_checkpoint
from turnmix.assembly.model_location import model_location
from turnmix.core.errors import UserError
from turnmix.core.task import Task
from turnmix.policies.local.policy import refuse_unsupported
from turnmix.policies.local.teacher import LocalTeacherPolicy
from turnmix.policies.policy import Episode
from turnmix.rendering.renderer import Renderer
from turnmix.store.run_directory import RunDirectory
from turnmix.teachers.local import LocalTeacherSettings

TASK = Task(id="t", problem_statement="")


@pytest.fixture(scope="module")
def make_teacher():
    tokenizer = make_tokenizer(HERMES_TEMPLATE)
    model, renderer = make_model(len(tokenizer)), Renderer(tokenizer)
    settings = LocalTeacherSettings(model="tiny", temperature=1.5, max_new_tokens=8)
    return lambda: LocalTeacherPolicy(model, renderer, settings)


def episode(number):
    return Episode(trajectory_id=f"t{number}", task=TASK, seed=number, cohort="all of them")


def answers(teacher, plan):
    """Ask in the trajectories of `plan`, all at once; the answers by trajectory, in order of asking."""

    async def ask_all():
        sessions = {number: teacher.begin(episode(number)) for number in range(3)}
        asked = [(number, sessions[number].act(conversation())) for number in plan]
        actions = await asyncio.wait_for(asyncio.gather(*(answer for _, answer in asked)), 300)
        for session in sessions.values():
            await session.close()
        await teacher.close()
        found = {}
        for (number, _), action in zip(asked, actions, strict=True):
            found.setdefault(number, []).append(action.message.content)
        return found

    return asyncio.run(ask_all())


def test_labels_asked_for_while_others_are_in_flight_are_answered_in_order(make_teacher):
    """A student's teacher is asked three times in one trajectory and never in another: nobody waits for it."""
    found = answers(make_teacher(), [0, 0, 1, 0])
    assert [len(found[0]), len(found[1])] == [3, 1]
    assert len(set(found[0])) > 1  # each turn draws anew


def test_an_answer_depends_on_its_own_trajectory_alone(make_teacher):
    crowded, alone = answers(make_teacher(), [1, 0, 2, 0, 1]), answers(make_teacher(), [0, 0])
    assert crowded[0] == alone[0]
    assert crowded[0][0] != crowded[1][0]


def test_its_turn_is_taught_in_the_students_tokens(make_teacher):
    async def ask():
        teacher = make_teacher()
        session = teacher.begin(episode(0))
        action = await session.act(conversation())
        await session.close()
        await teacher.close()
        return action

    action = asyncio.run(ask())
    assert (action.token_ids, action.logprobs, action.message.token_ids) == (None, None, None)
    student = Renderer(make_tokenizer(HERMES_TEMPLATE))
    taught = student.target_ids(conversation(), action)
    assert taught[-1] == student.end_of_turn_id


def test_a_model_that_cannot_act_is_refused_as_the_teacher_that_it_is():
    tokenizer = deepcopy(make_tokenizer(HERMES_TEMPLATE))
    tokenizer.chat_template = None
    with pytest.raises(UserError, match=r"teacher\.model: .* has no chat template"):
        Renderer(tokenizer, field="teacher.model")
    model = make_model(len(tokenizer))
    model.config.sliding_window, model.config.layer_types = 64, None
    model.config.use_sliding_window = True
    with pytest.raises(
        UserError, match=r"teacher\.model: 'tiny' cannot generate here: it has sliding_window=64"
    ):
        refuse_unsupported(model.config, "tiny", field="teacher.model")


def test_a_run_directory_names_its_last_checkpoint(tmp_path):
    run = RunDirectory.create(tmp_path / "run", recipe_yaml="")
    with pytest.raises(UserError, match=r"teacher.model: the run .* has no checkpoint yet"):
        model_location(str(tmp_path / "run"), field="teacher.model")
    for iteration in (1, 2):
        store_checkpoint(run.checkpoint(iteration))
    assert model_location(str(tmp_path / "run"), field="teacher.model") == str(run.checkpoint(2))
    assert model_location("some/hub-id", field="teacher.model") == "some/hub-id"
