"""Rollouts that scaffolds drive which start themselves: plans are taken, worked on, finished and kept."""

import asyncio
import contextlib
import json

import httpx
import pytest
from gateway_clients import Gone, post
from test_gateway_server import SECONDS, asked, run, text_of

from turnmix.assembly.source import make_source
from turnmix.core.errors import InfrastructureError, UserError
from turnmix.core.task import Task
from turnmix.core.trajectory import StopReason
from turnmix.gateway.external.parts import ExternalParts
from turnmix.gateway.external.rollouts import collect_external
from turnmix.gateway.settings import GatewaySettings
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.policies.server.process import free_port
from turnmix.recipe.recipe import load_recipe
from turnmix.rollout.mixture import DaggerMixture, StudentMixture, TeacherMixture
from turnmix.rollout.plan import make_plans


class Words:
    """Counts words."""

    def prompt(self, state):
        return sum(len(message.content.split()) for message in state.messages)

    def answer(self, action):
        return len(action.message.content.split())

    def tokens(self, action):
        return None


def says(name):
    return ScriptedPolicy(name, lambda episode, state: text_action(f"{name} in {len(state.messages)}"))


def plans_of(names, iteration=1, samples=1):
    tasks = [Task(id=name, problem_statement=f"Do {name}.", fields={"id": name, "data": 7}) for name in names]
    return make_plans(tasks, iteration=iteration, seed=0, cohort_size=2, beta=0.6, samples_per_task=samples)


def own_mixture(given):
    if given == {"kind": "student"}:
        return StudentMixture()
    raise UserError(f"mixture.kind: {given['kind']!r}: not for this method")


def parts_of(*, settings=None, **named):
    return ExternalParts(
        **{
            "student": says("student"), "teacher": says("teacher"), "mixture": DaggerMixture(),
            "own_mixture": own_mixture, "label": True, "count": Words(),
            "settings": settings or GatewaySettings(), "label_seconds": SECONDS,
            "max_turns": 100, "max_tokens": 10_000, **named,
        }
    )  # fmt: skip


@contextlib.asynccontextmanager
async def external(plans, *, keep=None, attempts=2, **named):
    """Rollouts that are served, their trajectories, and a client. At the end all plans must be filled."""
    kept, url = [], asyncio.get_running_loop().create_future()
    parts = parts_of(**named)
    serving = asyncio.create_task(
        collect_external(
            plans, parts=parts, keep=keep or kept.append, attempts=attempts,
            host="127.0.0.1", port=0, admin_key=None, listening=url.set_result,
        )
    )  # fmt: skip
    try:
        async with httpx.AsyncClient(base_url=await url, timeout=SECONDS, verify=False) as client:
            yield client, kept, serving
        await asyncio.wait_for(serving, SECONDS)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def opened(client, **body):
    response = await client.post("/sessions", json=body)
    assert response.status_code == 201, response.text
    return response.json()


async def opened_in_time(client):
    """An attempt is free again after a pause."""
    for _ in range(6000):
        response = await client.post("/sessions")
        if response.status_code != 503:
            break
        await asyncio.sleep(0.05)
    return response.json()


async def turn(client, session, text="hi"):
    return text_of(await client.post(f"{session['base_url']}/chat/completions", json=asked(text)))


async def finished(client, session, **body):
    return await client.post(f"{session['session_url']}/finish", json=body)


def told(response):
    return response.status_code, response.json()["error"]["message"]


def test_plans_are_taken_in_their_order_or_by_their_task_until_all_are_filled():
    async def scenario():
        async with external(plans_of("abc")) as (client, kept, _):
            second = await opened(client, task="b")
            third = await opened(client, task={"id": "c", "more": 1})
            first = await opened(client)
            assert [each["task"] for each in (first, second)] == [
                {"id": name, "prompt": f"Do {name}.", "data": 7} for name in "ab"
            ]
            assert [first["id"], second["id"]] == ["i001-00000", "i001-00001"]
            status, words = told(await client.post("/sessions"))
            assert (status, "3 of them are not finished" in words) == (503, True)
            assert told(await client.post("/sessions", json={"task": "b"}))[0] == 409
            assert told(await client.post("/sessions", json={"task": "z"}))[0] == 404
            for session, verdict in ((third, {"resolved": True}), (first, {"reward": 0.5})):
                await turn(client, session)
                response = await finished(client, session, **verdict)
                assert response.status_code == 200
            assert response.json() == {
                "id": "i001-00000", "task": "a", "stop_reason": "finished", "error": None,
                "resolved": False, "reward": 0.5, "turns": 1, "plans_left": 1,
            }  # fmt: skip
            again = await client.post("/sessions/i001-00000/finish", headers={"x-api-key": first["key"]})
            assert again.json() == response.json()
            late = await client.post(f"{first['base_url']}/chat/completions", json=asked("more"))
            assert told(late) == (409, "this session is finished: open another one")
            await turn(client, second)
            whole = {"verdict": {"resolved": True, "reward": 2, "details": {"tests": 3}}}
            await finished(client, second, **whole, stop_reason="max_turns")
        by_id = {trajectory.id: trajectory for trajectory in kept}
        assert sorted(by_id) == ["i001-00000", "i001-00001", "i001-00002"]
        assert by_id["i001-00001"].verdict.details == {"tests": 3}
        assert by_id["i001-00001"].stop_reason is StopReason.max_turns
        assert [by_id["i001-00000"].seed, by_id["i001-00000"].beta] == [plans_of("abc")[0].seed, 1.0]
        assert all(turn.label is not None for each in kept for turn in each.turns)

    run(scenario())


def test_a_gateway_that_comes_back_knows_who_asks_in_its_first_moment_and_has_plans_from_it_on(tmp_path):
    port = free_port(None)

    async def first_answer(path, body, key):
        """Of a gateway that begins meanwhile, and ends then."""
        parts = parts_of(journals=tmp_path / "sessions")
        serving = asyncio.create_task(
            collect_external(
                plans_of("ab"), parts=parts, keep=print, attempts=1,
                host="127.0.0.1", port=port, admin_key=None, listening=str,
            )
        )  # fmt: skip
        answer = None
        while answer is None:
            with contextlib.suppress(Gone):
                answer = await post(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(), key)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return answer

    async def scenario():
        status, session = await first_answer("/sessions", {}, "-")
        assert status == 201, session
        status, answer = await first_answer("/v1/chat/completions", asked("hi"), json.loads(session)["key"])
        assert status == 200, answer

    run(scenario())


def test_a_session_may_have_a_seed_and_a_mixture_of_its_own():
    async def scenario():
        async with external(plans_of("ab"), mixture=TeacherMixture()) as (client, kept, _):
            own = await opened(client, seed=7, mixture={"kind": "student"})
            usual = await opened(client)
            assert (await turn(client, own), await turn(client, usual)) == ("student in 1", "teacher in 1")
            for session in (own, usual):
                await finished(client, session, resolved=True)
        assert (kept[0].seed, kept[0].beta, kept[1].beta) == (7, 0.0, 1.0)
        assert [each.turns[0].actor for each in kept] == ["student", "teacher"]

    run(scenario())


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"seed": "x"}, "seed"),
        ({"seed": True}, "seed"),
        ({"mixture": {"kind": "teacher"}}, "mixture.kind"),
        ({"mixture": "student"}, "mixture"),
        ({"task": 3}, "task"),
        ({"taks": "a"}, "'taks'"),
    ],
)
def test_what_is_wrong_with_a_request_for_a_session_is_named(body, named):
    async def scenario():
        async with external(plans_of("a")) as (client, _, _serving):
            status, words = told(await client.post("/sessions", json=body))
            assert (status, words.startswith(named)) == (400, True)
            session = await opened(client)
            await turn(client, session)
            await finished(client, session, resolved=True)

    run(scenario())


def test_what_is_missing_or_wrong_in_a_finish_is_named_and_the_session_goes_on():
    wrong = [
        ({}, "verdict"), ({"resolved": "yes"}, "verdict"), ({"reward": "x"}, "verdict"),
        ({"reward": True}, "verdict"), ({"verdict": 1}, "verdict"), ({"verdict": {}}, "verdict"),
        ({"verdict": {"resolved": True}, "reward": 1}, "reward"), ({"details": {}}, "verdict"),
        ({"resolved": True, "stop_reason": "infra_error"}, "stop_reason"), ({"resolvd": True}, "resolvd"),
        ({"resolved": True, "error": "down"}, "resolved"), ({"error": 3}, "error"),
    ]  # fmt: skip

    async def scenario():
        async with external(plans_of("a")) as (client, _, _serving):
            session = await opened(client)
            status, words = told(await finished(client, session, resolved=True))
            assert (status, "OPENAI_BASE_URL" in words) == (409, True)
            await turn(client, session)
            for body, named in wrong:
                status, words = told(await finished(client, session, **body))
                assert (status, words.partition(":")[0]) == (400, named), body
            assert await turn(client, session, "more") == "teacher in 1"
            assert (await finished(client, session, resolved=True)).status_code == 200

    run(scenario())


def test_what_failed_around_a_scaffold_is_another_attempt_and_counts_at_last():
    async def scenario():
        async with external(plans_of("a"), attempts=2) as (client, kept, _):
            for number, id in ((1, "i001-00000"), (2, "i001-00000-session-2")):
                session = await opened_in_time(client)
                assert session["id"] == id
                if number == 2:
                    await turn(client, session)
                answer = (await finished(client, session, error="the database was down")).json()
                assert (answer["stop_reason"], answer["resolved"]) == ("infra_error", None)
        (only,) = kept
        assert (only.stop_reason, only.attempts) == (StopReason.infra_error, 2)
        assert "database" in only.error

    run(scenario())


def test_a_session_that_is_left_alone_is_given_up():
    async def scenario():
        settings = GatewaySettings(idle_seconds=0.2)
        async with external(plans_of("a"), attempts=1, settings=settings) as (client, kept, serving):
            await opened(client)
            await asyncio.wait_for(serving, SECONDS)
        assert "asked nothing for 0.2 s" in kept[0].error

    run(scenario())


def test_an_unreachable_model_is_503_and_the_same_request_again_is_answered():
    answers = iter([InfrastructureError("429"), text_action("here")])

    def script(episode, state):
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    async def scenario():
        student = ScriptedPolicy("student", script)
        async with external(plans_of("a"), student=student, mixture=StudentMixture()) as (client, kept, _):
            session = await opened(client)
            url = f"{session['base_url']}/chat/completions"
            first = await client.post(url, json=asked("hi"))
            assert (first.status_code, first.headers["retry-after"]) == (503, "1")
            assert await turn(client, session) == "here"
            await finished(client, session, resolved=True)
        assert (len(kept[0].turns), kept[0].turns[0].repeats) == (1, 0)

    run(scenario())


def test_a_mistake_of_the_users_own_ends_the_whole_gateway_loudly():
    def script(episode, state):
        raise UserError("student.model: it is gone")

    async def scenario():
        student = ScriptedPolicy("student", script)
        async with external(plans_of("a"), student=student, mixture=StudentMixture()) as (client, _, serving):
            session = await opened(client)
            response = await client.post(f"{session['base_url']}/chat/completions", json=asked("hi"))
            assert response.status_code == 500
            with pytest.raises(UserError, match="it is gone"):
                await asyncio.wait_for(serving, SECONDS)

    with pytest.raises(UserError, match="it is gone"):
        run(scenario())


def test_a_trajectory_that_cannot_be_kept_ends_the_whole_gateway():
    def keep(trajectory):
        raise OSError(28, "No space left on device")

    async def scenario():
        async with external(plans_of("a"), keep=keep) as (client, _, serving):
            session = await opened(client)
            await turn(client, session)
            response = await finished(client, session, resolved=True)
            status, words = told(response)
            assert (status, "could not be kept" in words) == (500, True)
            with pytest.raises(OSError, match="No space"):
                await asyncio.wait_for(serving, SECONDS)

    with pytest.raises(OSError, match="No space"):
        run(scenario())


def test_tasks_with_a_sandbox_and_a_verifier_are_worked_on_through_the_gateway(tmp_path):
    """The oracle looks into the same sandbox in which the scaffold's commands run."""
    recipe = load_recipe("minirepo_dagger", ["tasks.train=1"])
    source = make_source(recipe)
    plans = make_plans(source.tasks("train"), iteration=1, seed=0, cohort_size=1, beta=1.0)

    async def scenario():
        named = {
            "teacher": source.expert(), "mixture": TeacherMixture(), "environment": source.environment,
            "most_open": 1,
        }  # fmt: skip
        async with external(plans, **named) as (client, kept, _):
            session = await opened(client)
            ran = await client.post(session["run_url"], json={"command": "pwd && ls"})
            assert ran.json()["output"].splitlines()[0] == "/testbed"
            status, words = told(await finished(client, session, resolved=True))
            assert (status, "verifier of their own" in words) == (400, True)
            tools = [
                {"type": "function", "function": each.to_json()["function"]}
                for each in recipe.scaffold.specifications
            ]
            body = asked(session["task"]["prompt"], tools=tools)
            answer = await client.post(f"{session['base_url']}/chat/completions", json=body)
            (call,) = answer.json()["choices"][0]["message"]["tool_calls"]
            assert call["function"]["name"] in {tool["function"]["name"] for tool in tools}
            ended = (await finished(client, session)).json()
            assert (ended["resolved"], ended["turns"]) == (False, 1)
        assert kept[0].turns[0].actor == "teacher"

    run(scenario())


def test_a_session_has_the_turns_that_the_recipe_gives_every_trajectory():
    async def scenario():
        async with external(plans_of("a"), max_turns=1) as (client, kept, _):
            session = await opened(client)
            await turn(client, session, "one")
            more = await client.post(f"{session['base_url']}/chat/completions", json=asked("two"))
            assert (more.status_code, "scaffold.max_turns" in more.text) == (403, True)
            await finished(client, session, resolved=True)
        assert (kept[0].stop_reason, len(kept[0].turns)) == (StopReason.max_turns, 1)

    run(scenario())
