"""The gateway's HTTP: a scaffold's requests in, answers in its own dialect out.

    POST /v1/chat/completions, /v1/responses, /v1/messages, /v1/messages/count_tokens; GET /v1/models[/{model}]
    POST /sessions; GET /sessions/{id}; POST /sessions/{id}/finish, /sessions/{id}/run
    GET  /health, /ready

What asks a session stands below the session's own path too, `/sessions/{id}/{route token}`, with `/v1` or without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from turnmix.core.errors import TurnMixError, first_line
from turnmix.gateway.dialects import DIALECTS
from turnmix.gateway.dialects.dialect import Dialect
from turnmix.gateway.dialects.models import model_body, models_body
from turnmix.gateway.model_request import RequestError
from turnmix.gateway.serving.held_session import HeldSession
from turnmix.gateway.serving.json_response import JsonResponse
from turnmix.gateway.serving.keys import is_key, shown_keys
from turnmix.gateway.serving.request_body import read_object
from turnmix.gateway.serving.responder import Responder
from turnmix.gateway.serving.sessions import SessionBook

CHAT, MESSAGES = "/chat/completions", "/messages"
MODEL = "turnmix"
"""The one model that there is. A request may name any other, and gets it back."""
_OWN_PATH = "/sessions/{id}/{route}"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PATHS = "/v1/chat/completions, /v1/responses, /v1/messages, /v1/models, /sessions, /health or /ready"
Opener = Callable[[Mapping[str, Any], str], Awaitable[dict[str, Any]]]
"""A request to open a session, and the URL by which it came -> what is told of the session."""
Endpoint = Callable[[Request], Awaitable[Response]]


class _Application:
    """An endpoint as Starlette calls whole applications. Around a function it puts two more, of which one tells it what
    failed: here nothing does."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


class Gateway:
    """The application, with what it serves."""

    def __init__(
        self, book: SessionBook, *, opener: Opener | None = None, admin_digest: str | None = None
    ) -> None:
        """`opener` opens a session; None: none can be opened by requests. `admin_digest`: of the key that opening one
        needs; None: whoever can reach the gateway may."""
        self.book = book
        self.responder = Responder(book)
        self._began = int(time.time())
        self._opener = opener
        self._admin_digest = admin_digest
        self.app = Starlette(
            routes=list(self._routes()),
            exception_handlers={HTTPException: self._refused_by_path},  # type: ignore[dict-item]
        )

    def _routes(self) -> list[Route]:
        # What is asked most stands first: each route before it is compared with every request.
        routes = [
            Route(f"{prefix}{path}", self._told(self._asked(dialect), dialect), methods=["POST"])
            for prefix in (f"{_OWN_PATH}/v1", "/v1", _OWN_PATH)
            for path, dialect in DIALECTS.items()
        ]
        routes += [
            Route("/health", self._told(self._health), methods=["GET"]),
            Route("/ready", self._told(self._ready), methods=["GET"]),
            Route("/sessions", self._told(self._open), methods=["POST"]),
            Route("/sessions/{id}", self._told(self._show), methods=["GET"]),
            Route("/sessions/{id}/finish", self._told(self._finish), methods=["POST"]),
            Route("/sessions/{id}/run", self._told(self._run), methods=["POST"]),
            Route(_OWN_PATH, self._told(self._show), methods=["GET"]),
            Route(f"{_OWN_PATH}/finish", self._told(self._finish), methods=["POST"]),
            Route(f"{_OWN_PATH}/run", self._told(self._run), methods=["POST"]),
        ]
        for prefix in ("/v1", f"{_OWN_PATH}/v1", _OWN_PATH):
            count = self._told(self._count, DIALECTS[MESSAGES])
            routes.append(Route(f"{prefix}{MESSAGES}/count_tokens", count, methods=["POST"]))
            routes.append(Route(f"{prefix}/models", self._told(self._models), methods=["GET"]))
            routes.append(Route(f"{prefix}/models/{{model:path}}", self._told(self._model), methods=["GET"]))
        return routes

    def _told(self, endpoint: Endpoint, dialect: Dialect | None = None) -> _Application:
        """`endpoint`, of which every failure is told in the dialect's shape."""

        async def told(request: Request) -> Response:
            try:
                return await endpoint(request)
            except RequestError as error:
                return self._refusal(error, dialect)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody reads it
            except Exception as error:
                self.book.note_failure(error)
                return self._refusal(_internal(error), dialect)

        return _Application(told)

    def _asked(self, dialect: Dialect) -> Endpoint:
        async def asked(request: Request) -> Response:
            return await self.responder.respond(request, self._session(request), dialect)

        return asked

    def _session(self, request: Request) -> HeldSession:
        path = request.path_params
        return self.book.find(id=path.get("id"), route=path.get("route"), keys=shown_keys(request.headers))

    async def _health(self, request: Request) -> Response:
        return JsonResponse({"status": "ok"})

    async def _ready(self, request: Request) -> Response:
        if self.responder.is_closing or self.book.failure is not None:
            raise RequestError("unavailable", "the gateway is ending")
        return JsonResponse({"status": "ready", "sessions": self.book.num_open})

    async def _open(self, request: Request) -> Response:
        self._check_admin(request)
        if self._opener is None:
            raise RequestError(
                "not_found",
                "this gateway's sessions are opened by `turnmix train`: serve others with `turnmix gateway`",
            )
        if self.responder.is_closing:
            raise RequestError("unavailable", "the gateway is ending")
        opened = await self._opener(await self._object(request), _url_of(request))
        return JsonResponse(opened, status_code=201)

    def _check_admin(self, request: Request) -> None:
        if self._admin_digest is not None:
            keys = shown_keys(request.headers)
            if not (keys and all([is_key(key, self._admin_digest) for key in keys])):
                raise RequestError(
                    "unauthorized",
                    "opening a session needs the gateway's own key, that of its variable TURNMIX_GATEWAY_KEY",
                )
        elif request.client is not None and request.url.hostname not in _LOOPBACK:
            # A web page in a browser on this machine could reach it by a name of its own.
            raise RequestError("forbidden", "ask by 127.0.0.1 or localhost, or set TURNMIX_GATEWAY_KEY")

    async def _show(self, request: Request) -> Response:
        held = self._session(request)
        return JsonResponse({"id": held.id, "is_open": held.is_open, **_figures_of(held)})

    async def _finish(self, request: Request) -> Response:
        held = self._session(request)
        if held.finish is None:
            raise RequestError(
                "forbidden", "whoever opened this session ends it, when its scaffold has ended"
            )
        return JsonResponse(await held.finish(await self._object(request)))

    async def _run(self, request: Request) -> Response:
        held = self._session(request)
        if held.run is None:
            raise RequestError(
                "not_found", "the gateway holds no sandbox for this session: run commands where you are"
            )
        return JsonResponse(await held.run(await self._object(request)))

    async def _count(self, request: Request) -> Response:
        held, dialect = self._session(request), DIALECTS[MESSAGES]
        if held.count is None:
            raise RequestError("not_found", "tokens are not counted here")
        _, (asked, _) = await read_object(
            request,
            most=self.book.settings.max_request_bytes,
            held=self.responder.read_bytes,
            made=lambda body: dialect.read({"max_tokens": 1, **body}),
        )
        return JsonResponse({"input_tokens": await asyncio.to_thread(held.count, asked)})

    async def _models(self, request: Request) -> Response:
        self._session(request)
        return JsonResponse(models_body([MODEL], created=self._began))

    async def _model(self, request: Request) -> Response:
        if not (model := request.path_params["model"]):
            return await self._models(request)
        self._session(request)
        return JsonResponse(model_body(model, created=self._began))

    async def _object(self, request: Request) -> dict[str, Any]:
        body, _ = await read_object(
            request,
            most=self.book.settings.max_request_bytes,
            held=self.responder.read_bytes,
            made=lambda body: None,
            is_required=False,
        )
        return body

    async def _refused_by_path(self, request: Request, error: HTTPException) -> Response:
        """No such path, or no such method there."""
        path = request.url.path
        dialect = next((each for name, each in DIALECTS.items() if name in path), None)
        told = f"{request.method} {path.partition('/sessions/')[0] or '…'}: "
        if error.status_code == 404:
            response = self._refusal(
                RequestError("not_found", f"{told}there is no such path: it is {_PATHS}"), dialect
            )
        else:
            response = self._refusal(
                RequestError("invalid_request", f"{told}another method is wanted"), dialect
            )
        response.status_code = error.status_code
        response.headers.update(error.headers or {})
        return response

    def _refusal(self, error: RequestError, dialect: Dialect | None) -> Response:
        status, body, headers = (dialect or DIALECTS[CHAT]).error(error)
        return JsonResponse(body, status_code=status, headers=headers)


def _figures_of(held: HeldSession) -> Mapping[str, Any]:
    return {} if held.figures is None else held.figures()


def _internal(error: Exception) -> RequestError:
    told = str(error) if isinstance(error, TurnMixError) else f"{type(error).__name__}: {first_line(error)}"
    return RequestError("internal", f"the gateway failed: {told:.500}")


def _url_of(request: Request) -> str:
    """By which whoever asks reaches the gateway."""
    return str(request.base_url).rstrip("/")
