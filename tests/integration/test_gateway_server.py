"""The gateway's HTTP, asked by httpx over sockets: keys, limits, clients that go away, and its end."""

import asyncio
import contextlib
import gzip
import logging
import resource
import socket

import httpx
import pytest

from turnmix.core.errors import UserError
from turnmix.core.message import Message
from turnmix.gateway import answering
from turnmix.gateway.keys import digest_of
from turnmix.gateway.model_request import ModelAnswer, ModelRequest, RequestError
from turnmix.gateway.server import Gateway
from turnmix.gateway.serving import GatewayServer, check_host
from turnmix.gateway.sessions import SessionBook
from turnmix.gateway.settings import GatewaySettings

STATUS = {
    "invalid_request": 400, "unauthorized": 401, "forbidden": 403, "not_found": 404, "conflict": 409,
    "too_large": 413, "unavailable": 503, "internal": 500,
}  # fmt: skip
ADMIN = "an-admin-key-of-the-test"


class PlainDialect:
    """One user message in, its answer out."""

    def __init__(self, path):
        self.path = path

    def read(self, body):
        if not isinstance(body.get("messages"), list):
            raise RequestError("invalid_request", "messages: give a list", parameter="messages")
        messages = tuple(Message(role="user", content=str(each["content"])) for each in body["messages"])
        return ModelRequest(model=body.get("model", "m"), messages=messages), bool(body.get("stream"))

    def write(self, answer, body):
        return {"id": answer.id, "text": answer.message.content}

    def events(self, answer, body):
        for word in answer.message.content.split():
            yield f"data: {word}\n\n".encode()
        yield b"data: [DONE]\n\n"

    def heartbeat(self):
        return b": wait\n\n"

    def error(self, error):
        headers = {"Retry-After": "2"} if error.fault == "unavailable" else {}
        told = {"path": self.path, "fault": error.fault, "message": str(error)}
        return STATUS[error.fault], {"error": told}, headers

    def error_event(self, error):
        return f"event: error\ndata: {error}\n\n".encode()


DIALECTS = {path: PlainDialect(path) for path in ("/chat/completions", "/responses", "/messages")}


class Thinker:
    """Answers each question once, when it is let go; counts what it did."""

    def __init__(self, *, seconds=0.0, failure=None):
        self.seconds = seconds
        self.failure = failure
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
        await asyncio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return ModelAnswer(
            id=f"answer_{len(self.given)}", model="m", created=0,
            message=Message(role="assistant", content=f"you said {question:.20}"),
            finish="stop", prompt_tokens=1, completion_tokens=1,
        )  # fmt: skip

    async def close(self):
        self.is_closed = True
        for each in self.given.values():
            each.cancel()


async def asked_of(thinker, number):
    async with thinker.was_asked:
        await thinker.was_asked.wait_for(lambda: thinker.num_asked >= number)


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 60))


@contextlib.asynccontextmanager
async def gateway(**named):
    """A gateway that listens, its book, and a client of it."""
    settings = GatewaySettings(**named.pop("settings", {}))
    book = SessionBook(settings)
    server = GatewayServer(Gateway(book, dialects=DIALECTS, **named))
    async with server, httpx.AsyncClient(base_url=server.url, timeout=30, verify=False) as client:
        yield server, book, client
    await book.close()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def asked(text, **named):
    return {"messages": [{"content": text}], **named}


def fault(response):
    return response.status_code, response.json()["error"]["fault"]


@pytest.mark.parametrize("path", list(DIALECTS))
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
                assert (await client.post(url, json=asked("hi"))).json()["text"] == "you said hi"
            for headers in (bearer(opened.key), {"x-api-key": opened.key}, {"api-key": opened.key}):
                response = await client.post(f"/v1{path}", json=asked("hi"), headers=headers)
                assert response.json()["text"] == "you said hi"

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
                assert fault(response) == (401, "unauthorized"), path
                told.add(response.json()["error"]["message"])
            assert len(told) == 1
            assert (await client.get("/sessions/one", headers=bearer(other.key))).status_code == 401
            assert (await client.get("/v1/models")).status_code == 401
            assert (await client.get("/sessions/one", headers=bearer(one.key))).json()["is_open"] is True

    run(scenario())


def test_opening_needs_the_admin_key_where_there_is_one_and_a_name_of_this_machine_where_there_is_none():
    async def opener(body):
        return {"id": "one", "url": body["url"]}

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


@pytest.mark.parametrize("path", list(DIALECTS))
def test_what_is_no_request_is_refused_in_the_shape_of_its_dialect(path):
    async def scenario():
        async with gateway(settings={"max_request_bytes": 2048}) as (_, book, client):
            opened = book.hold(Thinker(), id="one")
            url = f"{opened.base_url}{path}"
            json_type, gzipped = {"Content-Type": "application/json"}, {"Content-Encoding": "gzip"}
            wrong = [
                (dict(content=b"{", headers=json_type), 400, "no JSON"),
                (dict(content=b'{"a": ' + b"[" * 1000 + b"]" * 1000 + b"}", headers=json_type), 400, "nested"),
                (dict(content=b"\xff{}", headers=json_type), 400, "no JSON"),
                (dict(content=b"", headers=json_type), 400, "no JSON"),
                (dict(json=[1]), 400, "JSON object"),
                (dict(json={}), 400, "messages"),
                (dict(data={"a": "b"}), 400, "application/json"),
                (dict(content=gzip.compress(b"{}"), headers={**json_type, **gzipped}), 400, "uncompressed"),
                (dict(json=asked("a" * 4000)), 413, "max_request_bytes"),
                (dict(content=pieces(4000), headers=json_type), 413, "max_request_bytes"),
            ]  # fmt: skip
            for request, status, words in wrong:
                response = await client.post(url, **request)
                error = response.json()["error"]
                assert (response.status_code, error["path"]) == (status, path)
                assert words in error["message"]
            response = await client.get(url)
            assert (response.status_code, response.json()["error"]["path"]) == (405, path)
            assert response.headers["allow"] == "POST"
            response = await client.post(f"{url}/more", json={})
            assert (response.status_code, response.json()["error"]["path"]) == (404, path)
            assert opened.path not in response.text
            assert (await client.post("/v2", json={})).status_code == 404
            assert (await client.post(url, json=asked("hi"))).status_code == 200

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
                assert fault(response) == (413, "too_large")
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    assert run(scenario()) < 30_000  # KiB


def test_a_client_that_goes_away_finds_its_answer_when_it_comes_back(monkeypatch):
    monkeypatch.setattr(answering, "HEARTBEAT_SECONDS", 0.02)

    async def scenario(is_streamed):
        thinker = Thinker()
        async with gateway() as (_, book, client):
            opened = book.hold(thinker, id="one")
            thinker.may_answer.clear()
            url, body = f"{opened.base_url}/chat/completions", asked("hi", stream=is_streamed)
            with pytest.raises(httpx.ReadTimeout if not is_streamed else asyncio.TimeoutError):
                await asyncio.wait_for(client.post(url, json=body, timeout=0.2), 0.3)
            thinker.may_answer.set()
            again = await client.post(url, json=body)
            assert "said" in again.text
            assert len(thinker.given) == 1
            assert book.held("one").answering == set()

    run(scenario(False))
    run(scenario(True))


def test_a_stream_has_heartbeats_until_its_answer_comes(monkeypatch):
    monkeypatch.setattr(answering, "HEARTBEAT_SECONDS", 0.02)

    async def scenario(thinker):
        async with gateway() as (_, book, client):
            opened = book.hold(thinker, id="one")
            response = await client.post(f"{opened.base_url}/responses", json=asked("hi", stream=True))
            return response

    response = run(scenario(Thinker(seconds=0.1)))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.count(": wait") >= 2
    assert response.text.endswith("data: you\n\ndata: said\n\ndata: hi\n\ndata: [DONE]\n\n")
    failure = RequestError("unavailable", "no model is there")
    late = run(scenario(Thinker(seconds=0.1, failure=failure)))
    assert late.status_code == 200
    assert late.text.endswith("event: error\ndata: no model is there\n\n")
    soon = run(scenario(Thinker(failure=failure)))
    assert (*fault(soon), soon.headers["retry-after"]) == (503, "unavailable", "2")


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
            assert fault(await client.post(url, json=asked("3"))) == (503, "unavailable")
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
            response = await client.post(f"{opened.base_url}/messages", json=asked("hi"))
            assert fault(response) == (409, "conflict")
            assert fault(await client.post(f"{opened.session_url}/finish")) == (403, "forbidden")

    run(scenario())


def test_what_is_unanswered_when_the_gateway_ends_hears_so_at_once():
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
            began = asyncio.get_running_loop().time()
            await server.__aexit__(None, None, None)
            responses = [await post for post in posts]
            assert asyncio.get_running_loop().time() - began < 3
            assert [fault(response) for response in responses] == [(503, "unavailable")] * 2
            assert not thinker.is_closed  # the answer is the session's

    run(scenario())


def test_a_failure_of_the_gateways_own_is_told_without_keys_and_ends_it(caplog, capfd):
    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(failure=ZeroDivisionError("1 / 0")), id="one")
            response = await client.post(f"{opened.base_url}/messages", json=asked("hi"))
            assert (*fault(response), response.json()["error"]["path"]) == (500, "internal", "/messages")
            with pytest.raises(ZeroDivisionError):
                await book.failed()
            assert fault(await client.get("/ready")) == (503, "unavailable")
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
            opened = [book.hold(Thinker(seconds=0.05), id=f"s{number}") for number in range(1000)]
            # Of httpx's pools each looks through all of its requests for each of them.
            async with contextlib.AsyncExitStack() as stack:
                clients = [
                    await stack.enter_async_context(httpx.AsyncClient(timeout=60, verify=False))
                    for _ in range(25)
                ]
                responses = await asyncio.gather(
                    *(
                        clients[place % 25].post(f"{each.base_url}/chat/completions", json=asked(each.id))
                        for place, each in enumerate(opened)
                    )
                )
            assert [each.json()["text"] for each in responses] == [f"you said {each.id}" for each in opened]

    run(scenario())


def test_a_port_that_is_taken_and_a_host_that_is_not_here_are_told_in_a_line():
    async def scenario(**named):
        async with GatewayServer(Gateway(SessionBook(), dialects=DIALECTS), **named):
            pass

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError, match="another program listens there"):
            run(scenario(port=other.getsockname()[1]))
    with pytest.raises(UserError, match=r"--host no-such-host\.invalid"):
        run(scenario(host="no-such-host.invalid"))
    with pytest.raises(UserError, match="--port 99999"):
        run(scenario(port=99999))


def test_it_listens_on_a_socket_of_the_file_system_besides(tmp_path):
    async def scenario():
        book, path = SessionBook(), tmp_path / "gateway.sock"
        async with GatewayServer(Gateway(book, dialects=DIALECTS), unix_socket=path):
            opened = book.hold(Thinker(), id="one")
            transport = httpx.AsyncHTTPTransport(uds=str(path))
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                response = await client.post(f"{opened.path}/v1/messages", json=asked("hi"))
                assert response.json()["text"] == "you said hi"
        assert not path.exists()

    run(scenario())


def test_models_are_listed_for_clients_of_both_kinds():
    async def scenario():
        async with gateway() as (_, book, client):
            opened = book.hold(Thinker(), id="one")
            listed = (await client.get(f"{opened.base_url}/models")).json()
            assert (listed["object"], listed["has_more"]) == ("list", False)
            named = (await client.get(f"{opened.base_url}/models/openai/gpt-5")).json()
            assert (named["id"], named["object"], named["type"]) == ("openai/gpt-5", "model", "model")

    run(scenario())
