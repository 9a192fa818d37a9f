"""The gateway's HTTP, asked by httpx over sockets: keys, limits, clients that go away, and its end."""

import asyncio
import contextlib
import gc
import gzip
import json
import logging
import resource
import socket
import threading

import httpx
import pytest

from turnmix.core.errors import UserError
from turnmix.core.message import Message
from turnmix.core.task import Task
from turnmix.gateway.dialects import DIALECTS
from turnmix.gateway.model_request import ModelAnswer, RequestError
from turnmix.gateway.serving import gateway_server, responder
from turnmix.gateway.serving.gateway_server import GatewayServer, check_host
from turnmix.gateway.serving.keys import digest_of
from turnmix.gateway.serving.server import Gateway
from turnmix.gateway.serving.sessions import SessionBook
from turnmix.gateway.session.session import SessionParts
from turnmix.gateway.settings import GatewaySettings
from turnmix.policies.scripted import ScriptedPolicy, text_action
from turnmix.policies.server.process import free_port
from turnmix.rollout.plan import make_plans

ADMIN = "an-admin-key-of-the-test"
PATHS = ("/chat/completions", "/responses", "/messages")
SECONDS = 300
"""In which whatever comes at all has come, also where this machine has much else to do."""


def asked(text, path="/chat/completions", **named):
    """A question in the dialect of a path."""
    message = {"role": "user", "content": text}
    body = {
        "/chat/completions": {"messages": [message]},
        "/responses": {"input": text},
        "/messages": {"messages": [message], "max_tokens": 100},
    }[path]
    return {"model": "any", **body, **named}


def text_of(response):
    assert response.status_code == 200, response.text
    data = response.json()
    if "choices" in data:
        return data["choices"][0]["message"]["content"]
    block = data["output"][0] if "output" in data else data
    return block["content"][0]["text"]


def shape_of(response):
    """Whose errors it is: Anthropic's have a type of their own."""
    data = response.json()
    assert isinstance(data["error"]["message"], str)
    return "anthropic" if data.get("type") == "error" else "openai"


def fault(response):
    return response.status_code, shape_of(response)


class Thinker:
    """Answers each question once, when it is let go; counts what it did."""

    def __init__(self, *, failure=None):
        self.raised = failure
        self.failure = None
        self.given = {}
        self.is_closed = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.num_asked = 0
        self.was_asked = asyncio.Condition()

    async def answer(self, request):
        async with self.was_asked:
            self.num_asked += 1
            self.was_asked.notify_all()
        question = request.messages[-1].content
        if question not in self.given:
            self.given[question] = asyncio.ensure_future(self._made(question))
        return await asyncio.shield(self.given[question])

    async def _made(self, question):
        await self.may_answer.wait()
        if self.raised is not None:
            raise self.raised
        return ModelAnswer(
            id=f"answer_{len(self.given)}", model="m", created=0,
            message=Message(role="assistant", content=f"you said {question:.20}"),
            finish="stop", prompt_tokens=1, completion_tokens=1,
        )  # fmt: skip

    async def close(self):
        self.is_closed = True
        for each in self.given.values():
            each.cancel()


class NoCounter:
    """Counts nothing."""

    def prompt(self, state):
        return 1

    def answer(self, action):
        return 1

    def tokens(self, action):
        return None


async def asked_of(thinker, number):
    async with thinker.was_asked:
        await thinker.was_asked.wait_for(lambda: thinker.num_asked >= number)


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, SECONDS))


@contextlib.asynccontextmanager
async def gateway(**named):
    """A gateway that listens, its book, and a client of it."""
    settings = GatewaySettings(**named.pop("settings", {}))
    book = SessionBook(settings)
    server = GatewayServer(Gateway(book, **named))
    async with server, httpx.AsyncClient(base_url=server.url, timeout=SECONDS, verify=False) as client:
        yield server, book, client
    await book.close()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", PATHS)
def test_a_session_is_asked_by_its_path_or_by_its_key(path):
    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(), id="one")
            by_path = [
                f"{opened.base_url}{path}",
                f"{opened.anthropic_base_url}/v1{path}",
                f"{opened.session_url}{path}",
            ]
            for url in by_path:
                assert text_of(await client.post(url, json=asked("hi", path))) == "you said hi"
            for headers in (bearer(opened.key), {"x-api-key": opened.key}, {"api-key": opened.key}):
                response = await client.post(f"/v1{path}", json=asked("hi", path), headers=headers)
                assert text_of(response) == "you said hi"

    run(scenario())


def test_whoever_shows_no_key_of_a_session_learns_nothing_of_it():
    async def scenario():
        async with gateway() as (_, book, client):
            one, other = book.hold(Thinker(), id="one"), book.hold(Thinker(), id="other")
            paths = [
                ("/v1/chat/completions", {}),
                ("/v1/chat/completions", bearer("tmx_wrong")),
                ("/v1/chat/completions", bearer(one.key[:-1])),
                (f"{one.path}/v1/chat/completions", bearer(other.key)),
                (f"{one.path}/v1/chat/completions", {"x-api-key": "", "api-key": other.key}),
                (f"{one.path[:-1]}/v1/chat/completions", {}),
                (f"{other.path.replace('other', 'one')}/v1/chat/completions", {}),
                (f"{one.path.replace('one', 'none')}/v1/chat/completions", {}),
                ("/sessions/one/finish", {}),
                ("/sessions/one/finish", bearer(other.key)),
                ("/sessions/none/finish", bearer(one.key)),
            ]  # fmt: skip
            told = set()
            for path, headers in paths:
                response = await client.post(path, json=asked("hi"), headers=headers)
                assert fault(response) == (401, "openai"), path
                told.add(response.json()["error"]["message"])
            assert len(told) == 1
            assert (await client.get("/sessions/one", headers=bearer(other.key))).status_code == 401
            assert (await client.get("/v1/models")).status_code == 401
            assert (await client.get("/sessions/one", headers=bearer(one.key))).json()["is_open"] is True

    run(scenario())


def test_opening_needs_the_admin_key_where_there_is_one_and_a_name_of_this_machine_where_there_is_none():
    async def opener(body, url):
        return {"id": "one", "url": url}

    async def scenario():
        async with gateway(opener=opener, admin_digest=digest_of(ADMIN)) as (server, _, client):
            statuses = [
                (await client.post("/sessions", headers=headers)).status_code
                for headers in ({}, bearer("tmx_" + "a" * 43), bearer(ADMIN))
            ]
            assert statuses == [401, 401, 201]
        async with gateway(opener=opener) as (server, _, client):
            assert (await client.post("/sessions")).json()["url"] == server.url
            assert (await client.post("/sessions", headers={"Host": "evil.example"})).status_code == 403
            simple = await client.post("/sessions", content="{}", headers={"Content-Type": "text/plain"})
            assert simple.status_code == 400
        async with gateway() as (_, _, client):
            assert (await client.post("/sessions", json={})).status_code == 404

    run(scenario())
    check_host("127.0.0.1", admin_key=None)
    check_host("0.0.0.0", admin_key=ADMIN)
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org", ""):
        with pytest.raises(UserError, match="TURNMIX_GATEWAY_KEY"):
            check_host(host, admin_key=None)
    with pytest.raises(UserError, match="16 characters"):
        check_host("127.0.0.1", admin_key="short")


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_request_is_refused_in_the_shape_of_its_dialect(path):
    async def scenario():
        async with gateway(settings={"max_request_bytes": 2048}) as (_, book, client):
            opened = book.hold(Thinker(), id="one")
            url = f"{opened.base_url}{path}"
            shape = "anthropic" if path == "/messages" else "openai"
            json_type, gzipped = {"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}
            wrong = [
                (dict(content=b"{", headers=json_type), 400, "no JSON"),
                (dict(content=b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}", headers=json_type), 400, "nested"),
                (dict(content=b"\xff{}", headers=json_type), 400, "no JSON"),
                (dict(content=b"", headers=json_type), 400, "no JSON"),
                (dict(json=[1]), 400, "JSON object"),
                (dict(json={"model": "any"}), 400, {"/responses": "input"}.get(path, "messages")),
                (dict(data={"a": "b"}), 400, "application/json"),
                (dict(content=gzip.compress(b"{}"), headers={**json_type, **gzipped}), 400, "uncompressed"),
                (dict(json=asked("a" * 4000, path)), 413, "max_request_bytes"),
                (dict(content=pieces(4000), headers=json_type), 413, "max_request_bytes"),
            ]  # fmt: skip
            for request, status, words in wrong:
                response = await client.post(url, **request)
                assert fault(response) == (status, shape)
                assert words in response.json()["error"]["message"]
            response = await client.get(url)
            assert fault(response) == (405, shape)
            assert response.headers["allow"] == "POST"
            response = await client.post(f"{url}/more", json={})
            assert fault(response) == (404, shape)
            assert opened.path not in response.text
            assert (await client.post("/v2", json={})).status_code == 404
            assert (await client.post(url, json=asked("hi", path))).status_code == 200

    run(scenario())


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_half_a_surrogate_pair_anywhere_is_no_failure_of_the_gateway(path, is_streamed):
    half = "a \ud800 b"
    places = [
        dict(metadata={half: half}),
        dict(safety_identifier=half),
        dict(truncation=half),
        dict(text={"format": {"type": "json_schema", "name": half, "schema": {half: 1}}}),
        {half: 1},
        dict(tool_choice=half),
    ]

    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(), id="one")
            for named in places:
                content = json.dumps({**asked("hi", path, stream=is_streamed), **named})
                response = await client.post(
                    f"{opened.base_url}{path}", content=content, headers={"Content-Type": "application/json"}
                )
                assert response.status_code in (200, 400), response.text
            assert book.failure is None

    run(scenario())


def test_tokens_are_counted_of_a_whole_request_and_hold_nobody_up():
    counting_in = []

    def count(request):
        counting_in.append(threading.current_thread())
        return sum(len(message.content) for message in request.messages)

    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(), id="one", count=count)
            body = {"model": "any", "messages": [{"role": "user", "content": "four"}], "system": "three"}
            response = await client.post(f"{opened.anthropic_base_url}/v1/messages/count_tokens", json=body)
            assert response.json() == {"input_tokens": 9}
            response = await client.post("/v1/messages/count_tokens", json=body)
            assert fault(response) == (401, "anthropic")
            assert counting_in != [threading.main_thread()]

    run(scenario())


async def pieces(length):
    for _ in range(length // 100):
        yield b" " * 100


def test_a_body_of_100_mb_is_refused_and_never_held():
    async def chunks():
        for _ in range(100):
            yield bytes(1_000_000)

    async def scenario():
        async with gateway(settings={"max_request_bytes": 1_000_000}) as (_, book, client):
            url = f"{book.hold(Thinker(), id='one').base_url}/chat/completions"
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for headers in ({}, {"Content-Length": "100000000"}):
                response = await client.post(url, content=chunks(), headers=headers)
                assert fault(response) == (413, "openai")
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert run(scenario()) < 30_000  # KiB


def test_a_client_that_goes_away_finds_its_answer_when_it_comes_back(monkeypatch):
    monkeypatch.setattr(responder, "HEARTBEAT_SECONDS", 0.02)

    async def scenario(is_streamed):
        thinker = Thinker()
        async with gateway() as (_, book, client):
            opened = book.hold(thinker, id="one")
            thinker.may_answer.clear()
            url, body = f"{opened.base_url}/chat/completions", asked("hi", stream=is_streamed)
            leaving = asyncio.create_task(client.post(url, json=body))
            await asked_of(thinker, 1)
            await asyncio.sleep(0.1)  # some heartbeats, where it is streamed
            leaving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await leaving
            thinker.may_answer.set()
            again = await client.post(url, json=body)
            assert "said" in again.text
            assert len(thinker.given) == 1
            assert book.held("one").answering == set()

    run(scenario(False))
    run(scenario(True))


def test_a_stream_has_heartbeats_until_its_answer_comes(monkeypatch):
    monkeypatch.setattr(responder, "HEARTBEAT_SECONDS", 0.02)

    heartbeat = DIALECTS["/responses"].heartbeat().decode()
    body = asked("hi", "/responses", stream=True)

    async def after(heartbeats, thinker):
        """A response, and its text. The answer comes after so many heartbeats."""
        async with gateway() as (_, book, client):
            thinker.may_answer.clear()
            url, text = f"{book.hold(thinker, id='one').base_url}/responses", ""
            async with client.stream("POST", url, json=body) as response:
                async for piece in response.aiter_text():
                    text += piece
                    if text.count(heartbeat) >= heartbeats:
                        thinker.may_answer.set()
            return response, text

    async def at_once(thinker):
        async with gateway() as (_, book, client):
            return await client.post(f"{book.hold(thinker, id='one').base_url}/responses", json=body)

    response, text = run(after(2, Thinker()))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert text.count(heartbeat) >= 2
    assert text.index("response.created") < text.index("response.completed")
    failure = RequestError("unavailable", "no model is there")
    late, text = run(after(1, Thinker(failure=failure)))
    assert late.status_code == 200
    assert "response.completed" not in text
    assert text.endswith(DIALECTS["/responses"].error_event(failure).decode())
    monkeypatch.setattr(responder, "HEARTBEAT_SECONDS", SECONDS)
    soon = run(at_once(Thinker(failure=failure)))
    assert (*fault(soon), soon.headers["retry-after"]) == (503, "openai", "1")


def test_sessions_and_requests_under_way_are_bounded():
    async def scenario():
        limits = {"max_sessions": 2, "max_requests_per_session": 3}
        async with gateway(settings=limits) as (_, book, client):
            thinker = Thinker()
            opened = book.hold(thinker, id="one")
            book.hold(Thinker(), id="other")
            with pytest.raises(RequestError, match="max_sessions"):
                book.hold(Thinker(), id="third")
            await book.end("other")
            book.hold(Thinker(), id="third")
            thinker.may_answer.clear()
            url = f"{opened.base_url}/chat/completions"
            posts = [asyncio.create_task(client.post(url, json=asked(str(number)))) for number in range(3)]
            await asked_of(thinker, 3)
            assert fault(await client.post(url, json=asked("3"))) == (503, "openai")
            thinker.may_answer.set()
            assert [(await post).status_code for post in posts] == [200] * 3
            assert (await client.post(url, json=asked("3"))).status_code == 200

    run(scenario())


def test_a_session_that_is_over_answers_nothing():
    async def scenario():
        async with gateway() as (_, book, client):
            thinker = Thinker()
            opened = book.hold(thinker, id="one")
            await book.end("one")
            assert thinker.is_closed
            response = await client.post(f"{opened.base_url}/messages", json=asked("hi", "/messages"))
            assert fault(response) == (409, "anthropic")
            assert fault(await client.post(f"{opened.session_url}/finish")) == (403, "openai")

    run(scenario())


def test_what_is_unanswered_when_the_gateway_ends_hears_so_at_once(monkeypatch):
    monkeypatch.setattr(gateway_server, "CLOSING_SECONDS", 10 * SECONDS)

    async def scenario():
        async with gateway() as (server, book, client):
            thinker = Thinker()
            opened = book.hold(thinker, id="one")
            thinker.may_answer.clear()
            url = f"{opened.base_url}/chat/completions"
            posts = [
                asyncio.create_task(client.post(url, json=asked("hi", stream=is_streamed)))
                for is_streamed in (False, True)
            ]
            await asked_of(thinker, 2)
            await server.__aexit__(None, None, None)
            responses = [await post for post in posts]
            assert [fault(response) for response in responses] == [(503, "openai")] * 2
            assert not thinker.is_closed  # the answer is the session's

    run(scenario())


def test_a_failure_of_the_gateways_own_is_told_without_keys_and_ends_it(caplog, capfd):
    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(failure=ZeroDivisionError("1 / 0")), id="one")
            response = await client.post(f"{opened.base_url}/messages", json=asked("hi", "/messages"))
            assert fault(response) == (500, "anthropic")
            with pytest.raises(ZeroDivisionError):
                await book.failed()
            assert fault(await client.get("/ready")) == (503, "openai")
            assert (await client.get("/health")).status_code == 200
            return opened

    with caplog.at_level(logging.DEBUG):
        opened = run(scenario())
    shown = capfd.readouterr()
    told = [*(each.getMessage() for each in caplog.records if each.name.startswith("uvicorn")), *shown]
    secrets = (opened.key, opened.path.rpartition("/")[2])
    assert [each for each in told if any(secret in each for secret in secrets)] == []
    assert shown == ("", "")
    assert opened.key not in repr(opened)


def test_a_thousand_sessions_are_answered_at_once():
    async def scenario():
        async with gateway() as (_, book, _):
            tasks = [Task(id=f"t{number}", problem_statement="") for number in range(1000)]
            student = ScriptedPolicy("s", lambda *_: text_action("done"), latency=0.05)
            parts = SessionParts(
                student=student,
                teacher=None,
                actors=lambda *_: "student",
                label=False,
                count=NoCounter(),
            )
            plans = make_plans(tasks, iteration=1, seed=0, cohort_size=1, beta=0.0)
            opened = [book.open(plan, parts) for plan in plans]
            # Of httpx's pools each looks through all of its requests for each of them.
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(httpx.AsyncClient(timeout=SECONDS, verify=False))
                    for _ in range(25)
                ]
                responses = await asyncio.gather(
                    *(
                        clients[place % 25].post(f"{each.base_url}/chat/completions", json=asked(each.id))
                        for place, each in enumerate(opened)
                    )
                )
            assert {text_of(each) for each in responses} == {"done"}
            assert [each.session.num_turns for each in opened] == [1] * 1000

    run(scenario())


def test_the_end_of_an_answer_does_not_wait_until_its_beginning_is_acknowledged():
    def kept_back():
        """Of the connections that this process has accepted: does the system hold back what is short?"""
        transports = [each for each in gc.get_objects() if isinstance(each, asyncio.Transport)]
        sockets = [each.get_extra_info("socket") for each in transports if not each.is_closing()]
        here = [each for each in sockets if each is not None and each.fileno() >= 0]
        accepted = [each for each in here if each.getsockname() == address]
        return {not each.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for each in accepted}

    async def scenario():
        nonlocal address
        async with gateway() as (server, _, client):
            address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
            assert (await client.get("/health")).status_code == 200
            assert kept_back() == {False}

    address = None
    run(scenario())


def test_while_it_listens_garbage_is_collected_seldom_and_then_as_before():
    before = gc.get_threshold(), gc.get_freeze_count()

    async def serve():
        async with GatewayServer(Gateway(SessionBook())):
            assert all(now > usual for now, usual in zip(gc.get_threshold(), before[0], strict=True))
            assert gc.get_freeze_count() > 1000

    asyncio.run(serve())
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_a_port_that_is_taken_and_a_host_that_is_not_here_are_told_in_a_line():
    async def scenario(**named):
        async with GatewayServer(Gateway(SessionBook()), **named):
            pass

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError, match="another program listens there"):
            run(scenario(port=other.getsockname()[1]))
    with pytest.raises(UserError, match=r"--host no-such-host\.invalid"):
        run(scenario(host="no-such-host.invalid"))
    with pytest.raises(UserError, match="--port 99999"):
        check_host("127.0.0.1", admin_key=None, port=99999)


def test_a_gateway_that_is_given_up_in_its_first_moment_listens_no_more():
    port = free_port(None)

    async def serve():
        async with GatewayServer(Gateway(SessionBook()), port=port):
            await asyncio.Event().wait()

    async def scenario():
        for _ in range(3):
            serving = asyncio.create_task(serve())
            connected = None
            while connected is None:
                with contextlib.suppress(OSError):
                    connected = await asyncio.open_connection("127.0.0.1", port)
            serving.cancel()
            connected[1].close()
            await asyncio.gather(serving, return_exceptions=True)
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)

    run(scenario())


def test_it_listens_on_a_socket_of_the_file_system_besides(tmp_path):
    async def scenario():
        book, path = SessionBook(), tmp_path / "gateway.sock"
        async with GatewayServer(Gateway(book), unix_socket=path):
            opened = book.hold(Thinker(), id="one")
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                response = await client.post(f"{opened.path}/v1/messages", json=asked("hi", "/messages"))
                assert text_of(response) == "you said hi"
        assert not path.exists()

    run(scenario())


def test_models_are_listed_for_clients_of_both_kinds():
    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(), id="one")
            listed = (await client.get(f"{opened.base_url}/models")).json()
            assert (listed["object"], listed["has_more"]) == ("list", False)
            assert (await client.get(f"{opened.base_url}/models/")).json() == listed
            assert (await client.get("/v1/models/")).status_code == 401
            named = (await client.get(f"{opened.base_url}/models/openai/gpt-5")).json()
            assert (named["id"], named["object"], named["type"]) == ("openai/gpt-5", "model", "model")

    run(scenario())


@pytest.mark.parametrize(
    "headers",
    [
        "content-length: {length}\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: {length}",
        "transfer-encoding: chunked, identity\r\ncontent-length: {length}",
        "transfer-encoding: xchunked\r\ncontent-length: {length}",
        "content-length: {length}\r\ncontent-length: 3",
        "content-length: +{length}",
    ],
)
def test_a_request_whose_end_can_be_read_in_two_ways_is_refused_and_what_follows_it_is_none(headers):
    """A proxy in front may read the other way: then what follows would be somebody else's request."""

    async def scenario():
        async with gateway() as (server, book, _):
            thinker = Thinker()
            opened = book.hold(thinker, id="one")
            content = json.dumps(asked("hidden")).encode()
            path = httpx.URL(f"{opened.base_url}/chat/completions").raw_path.decode()
            head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
            hidden = f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
            body = b"0\r\n\r\n" + hidden
            url = httpx.URL(server.url)
            reader, writer = await asyncio.open_connection(url.host, url.port)
            writer.write(f"{head}{headers.format(length=len(body))}\r\n\r\n".encode() + body)
            told = await asyncio.wait_for(reader.read(), SECONDS)
            writer.close()
            assert told.startswith(b"HTTP/1.1 400 ")
            assert told.count(b"HTTP/1.1 ") == 1
            assert thinker.num_asked == 0

    run(scenario())
