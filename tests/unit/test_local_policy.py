"""The student generates in lockstep, with a cache, exactly what it would generate alone and without one."""

import asyncio
import random
import threading
import weakref
from dataclasses import replace

import pytest
import torch

from chat_models import CODER_TEMPLATE, HERMES_TEMPLATE, answer, conversation, make_model, make_tokenizer
from turnmix.core.answer_form import ANY_FORM, AnswerForm
from turnmix.core.errors import UserError
from turnmix.core.task import Task
from turnmix.core.trajectory import State
from turnmix.policies.local import generation
from turnmix.policies.local.cache import RowCache
from turnmix.policies.local.policy import LocalPolicy, refuse_unsupported
from turnmix.policies.local.sampling import turn_uniforms
from turnmix.policies.policy import Episode
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.rendering.renderer import Renderer

TASK = Task(id="t", problem_statement="")
WORDS = ("the file was edited", "def add(first, second):\n    return first", "x", "no such file\n" * 4)


def episode(number, cohort="c"):
    return Episode(trajectory_id=f"t{number:02d}", task=TASK, seed=100 + number, cohort=cohort)


def settings(**changes):
    return StudentSettings(**{"temperature": 1.5, "top_p": 0.95, "max_new_tokens": 24} | changes)


class EarlyStoppingRenderer(Renderer):
    """Takes every 25th token for an end of turn, so that a random model's rows end at different times."""

    @property
    def stop_ids(self):
        return frozenset(range(0, 330, 25)) | super().stop_ids


async def roll_out(policy, number, *, turns, delays=None, cohort="c", session=None):
    """One trajectory with canned observations; its (state, action) pairs."""
    session = session or policy.begin(episode(number, cohort))
    script, state, pairs = random.Random(number), conversation(), []
    for _ in range(turns):
        if delays:
            await asyncio.sleep(delays.random() * 0.01)
        action = await session.act(state)
        pairs.append((state, action))
        observation = answer(script.choice(WORDS) * script.randint(1, 3))
        state = State(messages=(*state.messages, action.message, observation), tools=state.tools)
    await session.close()
    return pairs


def roll_out_all(policy, turns, *, delays=None, cohort="c"):
    """All trajectories of a cohort at once; trajectory i takes turns[i] turns."""

    async def all_at_once():
        sessions = [policy.begin(episode(number, cohort)) for number in range(len(turns))]
        runs = [
            roll_out(policy, number, turns=count, delays=delays, session=session)
            for number, (count, session) in enumerate(zip(turns, sessions, strict=True))
        ]
        results = await asyncio.gather(*runs)
        await policy.close()
        return results

    return asyncio.run(all_at_once())


@torch.inference_mode()
def generate_alone(model, renderer, state, options, *, greedy, seed, turn):
    """The reference: one row, no cache, the whole sequence computed again for every token."""
    prompt = renderer.prompt_ids(state)
    tokens, logprobs = [], []
    for uniform in turn_uniforms(seed, turn, options.max_new_tokens).tolist():
        logits = model(input_ids=torch.tensor([prompt + tokens])).logits[0, -1].double()
        if greedy:
            token = int(logits.argmax())
        else:
            probabilities, candidates = (logits / options.temperature).softmax(-1).sort(descending=True)
            kept = int((probabilities.cumsum(-1) < options.top_p).sum()) + 1
            cumulative = probabilities[:kept].cumsum(-1)
            token = int(candidates[int((cumulative <= uniform * cumulative[-1]).sum())])
        tokens.append(token)
        logprobs.append(float((logits if greedy else logits / options.temperature).log_softmax(-1)[token]))
        if token in renderer.stop_ids:
            break
    return tokens, logprobs


@pytest.mark.parametrize(
    ("template", "greedy", "attention"),
    [
        (HERMES_TEMPLATE, True, "sdpa"),
        (HERMES_TEMPLATE, False, "sdpa"),
        (CODER_TEMPLATE, True, "sdpa"),
        (CODER_TEMPLATE, False, "eager"),
    ],
    ids=["history-rewritten greedy", "history-rewritten sampled", "prefix greedy", "prefix sampled eager"],
)
def test_cached_lockstep_generation_is_generation_alone_without_a_cache(template, greedy, attention):
    tokenizer = make_tokenizer(template)
    renderer, model = EarlyStoppingRenderer(tokenizer), make_model(len(tokenizer))
    model.set_attn_implementation(attention)
    options = settings()
    turns = [1, 3, 2, 3, 2]
    trajectories = roll_out_all(LocalPolicy(model, renderer, options, greedy=greedy), turns)
    lengths = set()
    for number, pairs in enumerate(trajectories):
        assert len(pairs) == turns[number]
        for turn, (state, action) in enumerate(pairs, start=1):
            tokens, logprobs = generate_alone(
                model, renderer, state, options, greedy=greedy, seed=100 + number, turn=turn
            )
            assert list(action.token_ids) == tokens
            assert action.logprobs == pytest.approx(logprobs, abs=1e-4)
            assert action.prompt_tokens == len(renderer.prompt_ids(state))
            assert action.completion_tokens == len(tokens)
            lengths.add(len(tokens))
    assert len(lengths) > 2, "rows should end at different times"


def test_a_prompt_read_in_many_small_masks_gives_the_same_tokens(monkeypatch):
    tokenizer = make_tokenizer()
    renderer, model = EarlyStoppingRenderer(tokenizer), make_model(len(tokenizer))

    def run():
        policy = LocalPolicy(model, renderer, settings(), greedy=False)
        return [[action.token_ids for _, action in pairs] for pairs in roll_out_all(policy, [3, 1, 4])]

    whole = run()
    masks = []
    model.register_forward_pre_hook(
        lambda module, arguments, named: masks.append(named["attention_mask"].numel()), with_kwargs=True
    )
    monkeypatch.setattr(generation, "_MASK_PAIRS", 2000)
    assert run() == whole
    assert max(masks) <= 2000 < 100 * len(masks)


def test_a_cache_grows_without_a_second_one_beside_it(monkeypatch):
    cache = RowCache()
    states = torch.ones(1, 2, 4, 8)
    cache.reserve(num_rows=1, length=4)
    cache.aim(1, torch.arange(4)[None], 4)
    for layer in range(6):
        cache.update(states, states, layer)
    grown, most = RowCache._grown, []

    def counting(self, buffer):
        new = grown(self, buffer)
        alive.append(weakref.ref(new))
        most.append(sum(each() is not None and each().shape[2] == 256 for each in alive))
        return new

    alive = [weakref.ref(buffer) for pair in cache._buffers for buffer in pair]
    monkeypatch.setattr(RowCache, "_grown", counting)
    cache.reserve(num_rows=1, length=1000)
    assert most == [12, 12, 10, 10, 8, 8, 6, 6, 4, 4, 2, 2]
    assert all(torch.equal(keys[:, :, :4], states) for keys, _ in cache._buffers)


def test_timing_changes_no_bit():
    tokenizer = make_tokenizer()
    renderer, model = EarlyStoppingRenderer(tokenizer), make_model(len(tokenizer))

    def run(delays):
        policy = LocalPolicy(model, renderer, settings(), greedy=False)
        return [
            [action for _, action in pairs]
            for pairs in roll_out_all(policy, [3, 1, 4, 2, 4, 4], delays=delays)
        ]

    still = run(None)
    for seed in range(3):
        assert run(random.Random(seed)) == still


def test_other_cohorts_in_flight_change_no_bit():
    tokenizer = make_tokenizer()
    renderer, model = Renderer(tokenizer), make_model(len(tokenizer))

    async def run(cohorts):
        policy = LocalPolicy(model, renderer, settings(), greedy=False)
        members = [(cohort, number) for cohort in cohorts for number in range(3)]
        sessions = [policy.begin(episode(number, cohort)) for cohort, number in members]
        results = await asyncio.gather(
            *(
                roll_out(policy, number, turns=3, delays=random.Random(i), session=session)
                for i, ((_, number), session) in enumerate(zip(members, sessions, strict=True))
            )
        )
        await policy.close()
        return results[:3]

    assert asyncio.run(run(["a", "b", "c"])) == asyncio.run(run(["a"]))


def test_a_member_that_leaves_in_the_middle_holds_up_nobody_and_frees_the_cohort():
    tokenizer = make_tokenizer()
    policy = LocalPolicy(make_model(len(tokenizer)), Renderer(tokenizer), settings(), greedy=False)

    async def run():
        first, second = policy.begin(episode(0)), policy.begin(episode(1))
        waiting = asyncio.ensure_future(first.act(conversation()))
        gone = asyncio.ensure_future(second.act(conversation()))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        await second.close()
        await second.close()
        action = await asyncio.wait_for(waiting, 300)
        again = await asyncio.wait_for(first.act(conversation()), 300)
        await first.close()
        await policy.close()
        return action, again

    action, again = asyncio.run(run())
    assert action.token_ids != again.token_ids, "a later turn draws other numbers"
    assert not policy._cohorts


def test_a_new_cohort_sees_new_weights():
    tokenizer = make_tokenizer()
    renderer, model = Renderer(tokenizer), make_model(len(tokenizer))
    policy = LocalPolicy(model, renderer, settings(), greedy=True)

    async def act():
        session = policy.begin(episode(0))
        action = await session.act(conversation())
        await session.close()
        return action

    before = asyncio.run(act())
    with torch.no_grad():
        for parameter, other in zip(
            model.parameters(), make_model(len(tokenizer), seed=1).parameters(), strict=True
        ):
            parameter.copy_(other)
    tokens, _ = generate_alone(model, renderer, conversation(), settings(), greedy=True, seed=0, turn=1)
    assert list(asyncio.run(act()).token_ids) == tokens != list(before.token_ids)


def test_an_answer_fits_the_context_or_says_that_it_does_not():
    tokenizer = make_tokenizer()
    renderer = Renderer(tokenizer)
    needed = len(renderer.prompt_ids(conversation()))
    longer = State(messages=(*conversation().messages, answer("x " * 40)), tools=conversation().tools)
    policy = LocalPolicy(make_model(len(tokenizer), context=needed + 5), renderer, settings(), greedy=True)

    async def run():
        fits, fits_not = policy.begin(episode(0)), policy.begin(episode(1))
        actions = await asyncio.gather(fits.act(conversation()), fits_not.act(longer))
        await asyncio.gather(fits.close(), fits_not.close(), policy.close())
        return actions

    short, none = asyncio.run(run())
    assert short.completion_tokens <= 5
    assert "cut off after 5 tokens" in short.parse_error
    assert "fills the context" in none.parse_error
    assert (none.token_ids, none.logprobs, none.completion_tokens) == ((), (), 0)
    assert none.prompt_tokens == len(renderer.prompt_ids(longer))


def test_generation_leaves_the_event_loop_free_and_the_training_mode_as_it_was():
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer)).train()
    policy = LocalPolicy(model, Renderer(tokenizer), settings(), greedy=False)
    generates, is_free = threading.Event(), threading.Event()

    def wait_until_free(*_):
        generates.set()
        assert is_free.wait(60), "the event loop waits for the generation"

    model.register_forward_pre_hook(wait_until_free)

    async def run():
        session = policy.begin(episode(0))
        acting = asyncio.ensure_future(session.act(conversation()))
        while not generates.is_set():  # noqa: ASYNC110 (another thread tells it)
            await asyncio.sleep(0.001)
        is_free.set()
        await acting
        await session.close()
        await policy.close()

    asyncio.run(run())
    assert model.training


def test_a_session_begun_anew_draws_on_where_the_one_before_it_was():
    tokenizer = make_tokenizer()
    renderer, model = EarlyStoppingRenderer(tokenizer), make_model(len(tokenizer))

    async def both():
        policy = LocalPolicy(model, renderer, settings(), greedy=False)
        unbroken = await roll_out(policy, 0, turns=5)
        anew = policy.begin(replace(episode(0), turns_taken=3))
        restored = [await anew.act(state) for state, _ in unbroken[3:]]
        from_the_start = await policy.begin(replace(episode(0), cohort="other")).act(unbroken[3][0])
        await policy.close()
        return [action for _, action in unbroken[3:]], restored, from_the_start

    unbroken, restored, from_the_start = asyncio.run(both())
    assert [action.token_ids for action in restored] == [action.token_ids for action in unbroken]
    assert from_the_start.token_ids != unbroken[0].token_ids


def act_twice(policy, forms):
    """Two turns of a cohort that is offered no tools, the first one with a form each; (state, action) pairs."""

    async def member(session, form):
        first = State(messages=conversation().messages, tools=(), form=form)
        said = await session.act(first)
        second = State(messages=(*first.messages, said.message, answer("go on")), tools=())
        pairs = [(first, said), (second, await session.act(second))]
        await session.close()
        return pairs

    async def all_at_once():
        sessions = [policy.begin(episode(number)) for number in range(len(forms))]
        return await asyncio.gather(*map(member, sessions, forms))

    return asyncio.run(all_at_once())


def test_an_answer_ends_before_a_stop_text_and_its_tokens_at_the_one_that_completes_it():
    tokenizer = make_tokenizer()
    renderer, model = EarlyStoppingRenderer(tokenizer), make_model(len(tokenizer))
    policy = LocalPolicy(model, renderer, settings(), greedy=False)
    free = [pairs[0][1] for pairs in act_twice(policy, [ANY_FORM] * 6)]
    texts = [renderer.spelled(action.token_ids) for action in free]
    # Of every second one its middle, which begins and ends inside of tokens.
    stops = [
        (text[len(text) // 2 :][:3], "never said") if number % 2 else () for number, text in enumerate(texts)
    ]
    made, again = (act_twice(policy, [AnswerForm(stop=stop) for stop in stops]) for _ in range(2))
    assert [[action for _, action in pairs] for pairs in made] == [
        [action for _, action in pairs] for pairs in again
    ]
    for number, ((_, action), (state, later)) in enumerate(made):
        if not stops[number]:
            assert action.token_ids == free[number].token_ids
        else:
            kept, size = free[number].token_ids, len(action.token_ids)
            stop = stops[number][0]
            assert action.token_ids == kept[:size]
            assert action.logprobs == pytest.approx(free[number].logprobs[:size], abs=1e-4)
            assert stop in renderer.spelled(kept[:size])
            assert stop not in renderer.spelled(kept[: size - 1])
            assert action.stop_text == stop
            assert action.message.content == texts[number][: texts[number].index(stop)]
            assert (action.parse_error, action.completion_tokens) == (None, size)
        tokens, _ = generate_alone(
            model, renderer, state, settings(), greedy=False, seed=100 + number, turn=2
        )
        assert list(later.token_ids) == tokens


def test_a_failing_model_fails_every_act_of_the_batch():
    tokenizer = make_tokenizer()
    model = make_model(8)  # its vocabulary is too small for the prompt
    policy = LocalPolicy(model, Renderer(tokenizer), settings(), greedy=True)

    async def run():
        sessions = [policy.begin(episode(number)) for number in range(2)]
        acts = [session.act(conversation()) for session in sessions]
        return await asyncio.wait_for(asyncio.gather(*acts, return_exceptions=True), 300)

    assert all(isinstance(error, IndexError) for error in asyncio.run(run()))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layer_types": ["sliding_attention", "full_attention"]}, "layers of type sliding_attention"),
        ({"layer_types": None, "sliding_window": 512, "use_sliding_window": True}, "sliding_window=512"),
        ({"_attn_implementation": "flash_attention_2"}, "attn_implementation='flash_attention_2'"),
    ],
)
def test_models_that_a_row_cache_does_not_serve_are_refused(change, complaint):
    config = make_model(8).config
    for name, value in change.items():
        config.__dict__[name if name != "_attn_implementation" else "_attn_implementation_internal"] = value
    with pytest.raises(UserError, match=f"'org/model' cannot generate here: .*{complaint}"):
        refuse_unsupported(config, "org/model")
