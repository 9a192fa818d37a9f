"""A gateway that listens. In: the gateway, and where. Out: its URL, inside of a context; it closes within a bound."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import uvicorn

from turnmix.core.errors import UserError
from turnmix.gateway.serving.garbage import seldom_collected
from turnmix.gateway.serving.joined_writes import JoiningProtocol
from turnmix.gateway.serving.server import Gateway

ADMIN_KEY = "TURNMIX_GATEWAY_KEY"
"""The variable that holds the key with which sessions are opened."""
CLOSING_SECONDS = 5
"""In which requests under way hear that the gateway ends; then they are cut."""
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048


class GatewayServer:
    """`async with GatewayServer(gateway) as server: … server.url`. It runs in the event loop that it is opened in."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        unix_socket: Path | None = None,
    ) -> None:
        """`port` 0: any that is free. `unix_socket`: where it listens besides, for a sandbox without a network."""
        self._gateway = gateway
        self._host = host
        self._port = port
        self._unix_socket = unix_socket
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._collecting = contextlib.AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> GatewayServer:
        """Raises UserError: it cannot listen there."""
        sockets = [_tcp_socket(self._host, self._port)]
        try:
            if self._unix_socket is not None:
                sockets.append(_unix_socket(self._unix_socket))
        except BaseException:
            sockets[0].close()
            raise
        port = sockets[0].getsockname()[1]
        host = self._host if _is_one_address(self._host) else "127.0.0.1"
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._gateway.book.url = self.url
        # What it would say of requests holds their paths, which are secrets.
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
        self._server = _Server(
            uvicorn.Config(
                self._gateway.app,
                log_config=None,
                log_level=None,
                access_log=False,
                lifespan="off",
                ws="none",
                http=JoiningProtocol,
                proxy_headers=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=CLOSING_SECONDS,
            )
        )
        await self._collecting.enter_async_context(seldom_collected())
        self._serving = asyncio.create_task(self._server.serve(sockets))
        try:
            while not self._server.started:
                if self._serving.done():
                    self._serving.result()
                    raise UserError(f"the gateway cannot listen on {self._host}, port {self._port}")
                await asyncio.sleep(0.005)
        except BaseException:  # it may be cancelled here, and listens already
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._serving is not None
        self._gateway.responder.close()
        self._server.should_exit = True
        try:
            await asyncio.wait({self._serving}, timeout=CLOSING_SECONDS + 2)
        finally:
            if not self._serving.done():
                self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
            await self._collecting.aclose()
            if self._unix_socket is not None:
                with contextlib.suppress(OSError):
                    self._unix_socket.unlink()


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """What ends a process of `turnmix` is the command line's matter."""
        yield


def check_host(host: str, *, admin_key: str | None, port: int = 0) -> None:
    """Raises UserError: others could reach the gateway there, and open sessions without a key; or there is no such
    port."""
    if not 0 <= port < 1 << 16:
        raise UserError(f"--port {port}: give a number below 65536, or leave --port out")
    if admin_key is not None and len(admin_key) < 16:
        raise UserError(f"{ADMIN_KEY}: give a key of 16 characters or more, such as of: openssl rand -hex 32")
    if not _is_loopback(host) and admin_key is None:
        raise UserError(
            f"--host {host}: others can reach the gateway there: set the variable {ADMIN_KEY} to a key, which opening "
            "a session then needs, or leave --host out"
        )


def admin_key() -> str | None:
    return os.environ.get(ADMIN_KEY) or None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_one_address(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return bool(host)


def _tcp_socket(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UserError(f"--host {host}: {error.strerror}: name an address of this machine") from None
    family, kind, protocol, _, address = found[0]
    # With the protocol told, asyncio sends what is written at once. Without it the end of an answer waits until the
    # client has acknowledged its beginning, which takes 40 ms.
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        listening.close()
        is_taken = error.errno == errno.EADDRINUSE
        fix = "another program listens there: name another port" if is_taken else "name another host or port"
        raise UserError(
            f"the gateway cannot listen on {host}, port {port} ({error.strerror}): {fix}"
        ) from None
    listening.setblocking(False)
    return listening


def _unix_socket(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
    except OSError as error:
        listening.close()
        raise UserError(f"the gateway cannot listen on {path}: {error.strerror}") from None
    listening.setblocking(False)
    return listening
