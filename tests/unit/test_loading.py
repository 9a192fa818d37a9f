"""What is read beside a model's weights: which tokens end its turns, whether it knows its tokenizer's tokens, and what
its template shows as today's date."""

import asyncio
from datetime import datetime

import pytest
import torch

from chat_models import conversation, make_model, make_tokenizer
from published_templates import ROWS, tokenizer_of
from turnmix.core.errors import UserError
from turnmix.core.trajectory import Action
from turnmix.policies.local.device import check_device
from turnmix.policies.local.loading import load_model, load_renderer, load_student
from turnmix.policies.local.policy import LocalPolicy
from turnmix.policies.policy import Episode
from turnmix.policies.server.student_settings import StudentSettings
from turnmix.rendering import probe
from turnmix.rendering.chat_template import ChatTemplate
from turnmix.rendering.renderer import Renderer

MOMENT = datetime(2024, 2, 29, 13, 5)


@pytest.fixture
def saved(tmp_path):
    """Where a small student lies; `eos`: what its generation_config says."""

    def save(*, eos=None, embeddings=None, tokenizer=None):
        tokenizer = tokenizer or make_tokenizer()
        model = make_model(embeddings or len(tokenizer))
        model.generation_config.eos_token_id = eos
        model.save_pretrained(tmp_path / "student")
        tokenizer.save_pretrained(tmp_path / "student")
        return str(tmp_path / "student")

    return save


def test_every_stop_token_of_the_generation_config_ends_a_turn_here_and_behind_a_server(saved):
    other = make_tokenizer().convert_tokens_to_ids("<|endoftext|>")
    directory = saved(eos=[other, 7, 10_000])
    settings = StudentSettings(model=directory)
    own = make_tokenizer().eos_token_id
    model, _, renderer = load_student(settings)
    # 10,000 is no token of the tokenizer
    assert renderer.stop_ids == {own, other, 7}
    assert load_renderer(directory)[1].stop_ids == renderer.stop_ids
    assert LocalPolicy(model, renderer, settings, greedy=True).new_generation()._stop_ids == renderer.stop_ids


def test_a_student_stops_at_a_stop_token_that_its_template_never_writes(saved):
    directory = saved(eos=None)

    def turn(stop):
        settings = StudentSettings(model=directory, max_new_tokens=12)
        model, tokenizer, _ = load_student(settings)
        renderer = Renderer(tokenizer, stop_ids=stop)
        policy = LocalPolicy(model, renderer, settings, greedy=True)
        session = policy.begin(Episode(trajectory_id="a", task=None, seed=0))
        return asyncio.run(session.act(conversation()))

    whole = turn(())
    stop = whole.token_ids[3]
    cut = turn((stop,))
    first = whole.token_ids.index(stop)
    assert cut.token_ids == whole.token_ids[: first + 1]
    assert cut.parse_error is None or "limit" not in cut.parse_error


def test_a_label_ends_with_the_token_that_the_template_writes(saved):
    other = make_tokenizer().convert_tokens_to_ids("<|endoftext|>")
    _, renderer = load_renderer(saved(eos=[other]))
    for turn in probe.TURNS:
        target = renderer.target_ids(probe.BEGINNING, Action(message=turn))
        assert target[-1] == renderer.end_of_turn_id != other


@pytest.mark.parametrize("missing", [1, 4])
def test_a_tokenizer_larger_than_the_embedding_is_refused_with_its_tokens_and_the_fix(saved, missing):
    size = len(make_tokenizer())
    directory = saved(embeddings=size - missing)
    for load in (load_model, load_renderer, lambda source: load_student(StudentSettings(model=source))):
        with pytest.raises(UserError) as error:
            load(directory)
        told = str(error.value)
        assert f"its tokenizer has {size} tokens and the model {size - missing} embeddings" in told
        assert f"({size - missing})" in told
        assert ("and 1 more" in told) == (missing == 4)
        assert f"model.resize_token_embeddings({size})" in told


def test_embeddings_beyond_the_tokenizer_are_padding(saved):
    _, renderer = load_renderer(saved(embeddings=len(make_tokenizer()) + 64))
    assert renderer.vocabulary == len(make_tokenizer())


@pytest.mark.parametrize(
    ("name", "shown"), [("Llama-3.1", "Today Date: 29 Feb 2024\n"), ("gpt-oss", "Current date: 2024-02-29<")]
)
def test_a_template_shows_the_moment_that_it_is_given(name, shown):
    tokenizer = tokenizer_of(next(row for row in ROWS if row.name == name))
    state = probe.TEXT.states[0]
    frozen = (
        ChatTemplate(tokenizer, with_tools=False, moment=MOMENT).render(state.messages, generate=True).text
    )
    live = ChatTemplate(tokenizer, with_tools=False).render(state.messages, generate=True).text
    assert shown in frozen
    assert len(live) == len(frozen)
    assert live[-60:] == frozen[-60:]


@pytest.mark.parametrize("directive", ["%d %B %Y", "%-d.%-m.", "%A, %H:%M:%S", "%Y-%m-%d", "%j %p %y"])
def test_every_way_to_write_the_moment_is_the_clocks(directive):
    tokenizer = tokenizer_of(ROWS[0])
    tokenizer.chat_template = (
        "  \n{%- set given = '"
        + directive
        + "' %}{{ strftime_now(given) if strftime_now is defined else 'none' }}"
    )
    template = ChatTemplate(tokenizer, with_tools=False, moment=MOMENT)
    assert template.render(probe.BEGINNING.messages).text == MOMENT.strftime(directive)


def test_looking_for_a_card_opens_none(monkeypatch):
    """A process that learns on another card would hold memory of the one it opened; here none can be opened."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert check_device("cuda", field="student.device") == torch.device("cuda")
    assert check_device("cuda:1", field="student.device") == torch.device("cuda:1")
    with pytest.raises(UserError, match=r"student\.device: 'cuda:2'"):
        check_device("cuda:2", field="student.device")
    assert not torch.cuda.is_initialized()
