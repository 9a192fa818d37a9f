"""Connections to an endpoint, kept between requests, against real servers."""

import asyncio
import contextlib
import gzip
import shutil
import ssl
import subprocess

import httpx
import pytest

from turnmix.policies.endpoint.connections import Connections, LostConnectionError, NotConnectedError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate"


def asked(behave, *, answer=ANSWER, times=2, certificate=None, verify=None):
    """The statuses of so many requests, one after the other, and how many connections they took. `behave`: what the
    server does on a connection after each `answer` that it gave, and before the next request."""

    async def run():
        taken, has_behaved = [], asyncio.Semaphore(0)

        async def serve(reader, writer):
            taken.append(writer)
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(answer)
                await writer.drain()
                await asyncio.sleep(0.02)
                behave(writer)
                await asyncio.sleep(0)  # in which a connection is closed
                has_behaved.release()

        async def quietly(reader, writer):
            try:
                await serve(reader, writer)
            except (asyncio.IncompleteReadError, OSError):
                writer.close()

        server = await asyncio.start_server(quietly, "127.0.0.1", 0, ssl=certificate)
        port = server.sockets[0].getsockname()[1]
        connections = Connections(verify=verify or ssl.create_default_context(), proxy=None, max_idle=4)
        url = httpx.URL(f"{'http' if certificate is None else 'https'}://localhost:{port}/")
        try:
            found = []
            for _ in range(times):
                response = await connections.exchange("GET", url, httpx.Headers({"Host": "localhost"}), None)
                found.append((response.status, response.content))
                await asyncio.wait_for(has_behaved.acquire(), 60)
                await asyncio.sleep(0.1)  # in which the client hears of it
        finally:
            await connections.close()
            server.close()
        return found, len(taken)

    return asyncio.run(run())


def nothing(writer):
    pass


def close(writer):
    writer.close()


def close_with_a_word(writer):
    writer.write(TOO_LATE)
    writer.close()


def speak_unasked(writer):
    writer.write(TOO_LATE)


def test_a_connection_serves_one_request_after_the_other():
    assert asked(nothing) == ([(200, b"hi")] * 2, 1)


@pytest.mark.parametrize("behave", [close, close_with_a_word, speak_unasked])
def test_a_connection_that_ended_or_spoke_unasked_serves_no_further_request(behave):
    assert asked(behave) == ([(200, b"hi")] * 2, 2)


FORMS = {
    "in pieces": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        nothing,
        1,
    ),
    "after a word that it comes": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + ANSWER,
        nothing,
        1,
    ),
    "compressed": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b"
        % (len(gzip.compress(b"hi")), gzip.compress(b"hi")),
        nothing,
        1,
    ),
    "up to the end of the connection": (b"HTTP/1.1 200 OK\r\n\r\nhi", close, 2),
    "the last one of its connection": (
        ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        nothing,
        2,
    ),
    "by an old server": (ANSWER.replace(b"HTTP/1.1", b"HTTP/1.0"), nothing, 2),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_answer_is_read_in_whatever_form_it_comes(form):
    answer, behave, num_connections = FORMS[form]
    assert asked(behave, answer=answer) == ([(200, b"hi")] * 2, num_connections)


@pytest.mark.parametrize(
    ("size", "seconds"),
    [(200_000, 0), (8_000_000, 0.3), (40_000_000, 0.3), (40_000_000, 3600)],
)
def test_a_refusal_that_comes_before_the_request_was_read_is_the_answer(size, seconds):
    """`seconds`: until the server closes the connection, of which it reads nothing more."""

    async def ask():
        leaving, gone = asyncio.Event(), asyncio.Semaphore(0)

        async def refuse(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.pause_reading()
            writer.write(TOO_LATE)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(leaving.wait(), seconds)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            gone.release()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        url = httpx.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        connections = Connections(verify=ssl.create_default_context(), proxy=None, max_idle=4)
        found = []
        try:
            for _ in range(2):  # the second on a connection of its own
                response = await connections.exchange("POST", url, httpx.Headers(), b"x" * size)
                found.append((response.status, response.content))
                if seconds < 3600:
                    await gone.acquire()
                    await asyncio.sleep(0.1)  # in which the client hears of it
        finally:
            leaving.set()
            await connections.close()
            server.close()
        return found

    assert asyncio.run(asyncio.wait_for(ask(), 300)) == [(408, b"late")] * 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_secured_endpoint_is_asked_and_one_of_an_unknown_name_is_not(tmp_path):
    words = (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    files = ["-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(["openssl", *words.split(), *files], cwd=tmp_path, check=True, capture_output=True)
    certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    assert asked(nothing, certificate=certificate, verify=trusting) == ([(200, b"hi")] * 2, 1)
    with pytest.raises(NotConnectedError, match="certificate"):
        asked(nothing, certificate=certificate)


@pytest.mark.parametrize("name", ["a" * 70 + ".example", "nobody.invalid"])
def test_a_name_that_leads_nowhere_is_no_connection(name):
    async def ask():
        connections = Connections(verify=ssl.create_default_context(), proxy=None, max_idle=4)
        await connections.exchange("GET", httpx.URL(f"http://{name}/"), httpx.Headers(), None)

    with pytest.raises(NotConnectedError):
        asyncio.run(ask())


def test_an_answer_that_is_cut_is_a_lost_connection():
    async def ask():
        async def cut(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER[:-1])
            writer.close()

        server = await asyncio.start_server(cut, "127.0.0.1", 0)
        url = httpx.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        connections = Connections(verify=ssl.create_default_context(), proxy=None, max_idle=4)
        try:
            await connections.exchange("GET", url, httpx.Headers({"Host": "127.0.0.1"}), None)
        finally:
            server.close()

    with pytest.raises(LostConnectionError):
        asyncio.run(ask())


def test_what_comes_along_with_an_answer_is_no_answer_to_the_next_request():
    async def ask():
        async def speak_at_once(reader, writer):
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    path = head.split()[1]
                    writer.write(ANSWER.replace(b"hi", path) + (TOO_LATE if path == b"/1" else b""))
            except (asyncio.IncompleteReadError, OSError):
                writer.close()

        server = await asyncio.start_server(speak_at_once, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        connections = Connections(verify=ssl.create_default_context(), proxy=None, max_idle=4)
        found = []
        try:
            for path in ("/1", "/2", "/3", "/4"):
                response = await connections.exchange(
                    "GET", httpx.URL(url + path), httpx.Headers({"Host": "127.0.0.1"}), None
                )
                found.append(response.content.decode())
        finally:
            await connections.close()
            server.close()
        return found

    assert asyncio.run(ask()) == ["/1", "/2", "/3", "/4"]
