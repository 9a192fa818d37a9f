"""A student's past turns keep the tokens it sampled, and those that cannot are counted."""

import asyncio

import pytest

from chat_models import TOOLS, answer, assistant, conversation, make_model, make_tokenizer
from qwen3_templates import CODER, HYBRID, INSTRUCT, TEMPLATES
from sampled_turns import rollout, said, sampled, spelled, stored, student_turn, teacher_turn
from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.environments.counting import CountingSource
from turnmix.policies.local.policy import LocalPolicy
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.rendering.drift import Drift, count_drift
from turnmix.rendering.history import place_turns
from turnmix.rendering.renderer import Renderer
from turnmix.rollout.collector import collect
from turnmix.rollout.mixture import StudentMixture
from turnmix.rollout.plan import make_plans
from turnmix.rollout.request import RolloutRequest

HERMES_CALL = '<tool_call>\n{"name": "edit", "arguments": {"path": "a"}}\n</tool_call>'
CODER_CALL = "<tool_call>\n<function=edit>\n<parameter=path>\na\n</parameter>\n</function>\n</tool_call>"


@pytest.fixture(params=TEMPLATES)
def template(request):
    return TEMPLATES[request.param]


def call_of(template):
    return CODER_CALL if template is CODER else HERMES_CALL


def holds(ids, part):
    return any(tuple(ids[start : start + len(part)]) == tuple(part) for start in range(len(ids)))


def test_a_sampled_turn_stands_in_later_prompts_as_it_was_sampled(template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    action = sampled(renderer, tokenizer, call_of(template))
    assert action.message.tool_calls[0].arguments == {"path": "a"}
    for later in ((answer("1 line"),), (answer("1 line"), assistant("Hm."), answer("?"))):
        state = conversation(action.message, *later)
        prompt = renderer.prompt_ids(state)
        assert holds(prompt, action.token_ids)
        assert tokenizer.decode(prompt) == renderer.prompt_text(state)
        assert prompt != tokenizer(renderer.prompt_text(state), add_special_tokens=False).input_ids
        assert renderer.kept_turns(state)[0] is True


def test_a_prompt_without_sampled_turns_is_the_tokenised_text(template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    state = conversation(assistant("", edit={"path": "a"}), answer("1 line"))
    ids = tokenizer(renderer.prompt_text(state), add_special_tokens=False).input_ids
    assert renderer.prompt_ids(state) == ids
    assert renderer.kept_turns(state) == [None]


def test_training_reads_back_from_a_store_the_prompts_that_inference_had(template):
    tokenizer = make_tokenizer(template)
    renderer = Renderer(tokenizer)
    state, turns, prompts = conversation(), [], []
    for text in (call_of(template), "I do nothing.", '<tool_call>{"name": "edit"}', call_of(template)):
        prompts.append(renderer.prompt_ids(state))
        action = sampled(renderer, tokenizer, text)
        turns.append(student_turn(action, answer("seen")))
        messages = (*state.messages, action.message, *turns[-1].observation)
        state = State(messages=messages, tools=TOOLS)
    back = stored(rollout(*turns))
    assert [renderer.prompt_ids(back.state(index)) for index in range(4)] == prompts


class RecordingRenderer(Renderer):
    """Remembers every prompt that it rendered."""

    def prompt_ids(self, state):
        self.prompts = [*getattr(self, "prompts", []), super().prompt_ids(state)]
        return self.prompts[-1]


def test_a_stored_rollout_of_a_model_is_taught_on_the_prompts_that_the_model_saw(template):
    tokenizer = make_tokenizer(template)
    renderer = RecordingRenderer(tokenizer)
    options = StudentSettings(temperature=1.5, top_p=0.95, max_new_tokens=16)
    policy = LocalPolicy(make_model(len(tokenizer)), renderer, options, greedy=False)
    source = CountingSource()
    plans = make_plans(source.tasks("train")[:2], iteration=1, seed=0, cohort_size=2, beta=None)

    async def rolled_out():
        options = {"teacher": None, "mixture": StudentMixture(), "label": False, "concurrency": 2}
        trajectories = await collect(RolloutRequest(plans=plans, source=source, student=policy, **options))
        await policy.close()
        return trajectories

    trajectories = [stored(trajectory) for trajectory in asyncio.run(rolled_out())]
    at_inference, renderer.prompts = renderer.prompts, []
    at_training = [
        renderer.prompt_ids(trajectory.state(index))
        for trajectory in trajectories
        for index in range(len(trajectory.turns))
    ]
    assert sorted(at_training) == sorted(at_inference)
    drift = count_drift(trajectories, renderer)
    assert len(at_training) > 2
    assert drift.turns > drift.differing
    retokenised = [
        tokenizer(tokenizer.decode(ids), add_special_tokens=False).input_ids for ids in at_training
    ]
    assert retokenised != at_training


def test_what_parsing_and_rendering_change_is_counted_once_a_turn_and_the_last_turn_never():
    tokenizer = make_tokenizer(INSTRUCT)
    renderer = Renderer(tokenizer)
    spaced = '<tool_call>{"arguments":{"path":"a"},"name":"edit"}</tool_call>'
    turns = [student_turn(sampled(renderer, tokenizer, text)) for text in (HERMES_CALL, spaced, spaced)]
    trajectory = rollout(turns[0], teacher_turn(said(assistant("", edit={"path": "b"}))), *turns[1:])
    assert count_drift([trajectory], renderer) == Drift(turns=2, differing=1)
    assert count_drift([trajectory, stored(trajectory)], renderer) == Drift(turns=4, differing=2)
    assert count_drift([rollout(turns[1]), rollout()], renderer) == Drift(turns=0, differing=0)


def test_a_teacher_that_has_tokens_is_no_drift():
    tokenizer = make_tokenizer(INSTRUCT)
    renderer = Renderer(tokenizer)
    by_teacher = teacher_turn(sampled(renderer, tokenizer, "<tool_call>  {}"))
    by_student = student_turn(sampled(renderer, tokenizer, "Hm."))
    assert count_drift([rollout(by_teacher, by_student, by_teacher)], renderer) == Drift(turns=1, differing=0)


def test_tokens_of_another_vocabulary_are_never_put_into_a_prompt():
    tokenizer = make_tokenizer(INSTRUCT)
    renderer = Renderer(tokenizer)
    message = Action(message=assistant("I look."), token_ids=(5, 6, 7)).message
    state = conversation(message, answer("1 line"))
    ids = tokenizer(renderer.prompt_text(state), add_special_tokens=False).input_ids
    assert renderer.prompt_ids(state) == ids
    assert renderer.kept_turns(state) == [False]


def test_a_turn_that_was_cut_off_is_kept_and_ended_by_the_template():
    tokenizer = make_tokenizer(INSTRUCT)
    renderer = Renderer(tokenizer)
    action = renderer.parse(spelled(tokenizer, "I look at")[:-1], TOOLS)
    state = conversation(action.message, answer("Shorter."))
    assert holds(renderer.prompt_ids(state), (*action.token_ids, renderer.end_of_turn_id))
    assert renderer.kept_turns(state) == [True]


def test_a_turn_ended_by_another_token_keeps_the_rest_and_counts_as_differing():
    tokenizer = make_tokenizer(HYBRID)
    tokenizer = tokenizer.__class__(
        tokenizer_object=tokenizer.backend_tokenizer, eos_token="<|endoftext|>", chat_template=HYBRID
    )
    renderer = Renderer(tokenizer)
    action = sampled(renderer, tokenizer, "I look.")
    assert action.message.content == "I look."
    state = conversation(action.message, answer("1 line"))
    assert holds(renderer.prompt_ids(state), (*action.token_ids[:-1], renderer.end_of_turn_id))
    assert renderer.kept_turns(state) == [False]


def test_an_observation_that_quotes_the_turn_before_it_came_misleads_nobody():
    tokenizer = make_tokenizer(INSTRUCT)
    renderer = Renderer(tokenizer)
    action = sampled(renderer, tokenizer, HERMES_CALL)
    quote = f"<|im_start|>assistant\n{HERMES_CALL}<|im_end|>\n"
    state = conversation(action.message, answer(quote), action.message, answer(quote))
    prompt = renderer.prompt_ids(state)
    assert tokenizer.decode(prompt) == renderer.prompt_text(state)
    assert renderer.kept_turns(state) == [True, True]


def test_the_tokens_of_a_message_are_no_part_of_what_it_says():
    plain = assistant("I look.")
    message = Action(message=plain, token_ids=(1, 2)).message
    assert message.token_ids == (1, 2)
    assert (message, hash(message), message.to_json()) == (plain, hash(plain), plain.to_json())
    assert Message.from_json(message.to_json()).token_ids is None


def test_a_turn_that_history_leaves_out_takes_no_place_from_a_later_one_of_the_same_text():
    text = "<a>run<end><a>look<end><a>think look<end>"
    places = place_turns(text, ["think run", "look", "think look"], beginnings=["<a>"], end="<end>")
    assert places == [None, text.index("look"), text.rindex("think look")]


def test_more_turns_than_beginnings_place_nothing():
    assert place_turns("<a>look<end>", ["look", "look"], beginnings=["<a>"], end="<end>") == [None, None]


def test_a_turn_that_is_only_the_beginning_of_what_history_shows_is_not_kept():
    assert place_turns("<a>look at<end>", ["look"], beginnings=["<a>"], end="<end>") == [None]


def test_no_two_turns_take_the_same_place():
    text = "<a>quoted<end><a>look<end><a>look<end>"
    places = place_turns(text, ["look", "look"], beginnings=["<a>"], end="<end>")
    assert places == [text.index("look"), text.rindex("look")]
