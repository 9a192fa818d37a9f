"""A small real HTTP server over the dialects: it gives the answers that a test says, and keeps what it was asked."""

import asyncio
import contextlib
import threading
import time

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from turnmix.core.json_text import json_value
from turnmix.gateway.dialects import DIALECTS
from turnmix.gateway.dialects.models import model_body, models_body
from turnmix.gateway.model_request import RequestError


class DialectServer:
    """`answers`: what comes next, answers or errors. `asked`: the requests. `fails_late`: when a stream has begun."""

    def __init__(self):
        self.answers = []
        self.asked = []
        self.fails_late = False

    async def handle(self, request: Request):
        dialect = DIALECTS[request.url.path.removeprefix("/v1")]
        body = json_value(await request.body())
        try:
            asked, is_streamed = dialect.read(body)
            self.asked.append(asked)
            answer = self.answers.pop(0)
            if isinstance(answer, RequestError) and not self.fails_late:
                raise answer
        except RequestError as error:
            status, told, headers = dialect.error(error)
            return JSONResponse(told, status_code=status, headers=headers)
        if not is_streamed:
            return JSONResponse(dialect.write(answer, body))

        async def stream():
            yield dialect.heartbeat()
            if isinstance(answer, RequestError):
                yield dialect.error_event(answer)
                return
            for event in dialect.events(answer, body):
                yield event
                await asyncio.sleep(0)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def models(self, request: Request):
        return JSONResponse(models_body(["student"], created=1_700_000_000))

    async def model(self, request: Request):
        return JSONResponse(model_body(request.path_params["name"], created=1_700_000_000))


@contextlib.contextmanager
def served_dialects():
    """A server and its URL."""
    dialects = DialectServer()
    routes = [Route(f"/v1{path}", dialects.handle, methods=["POST"]) for path in DIALECTS]
    routes += [Route("/v1/models", dialects.models), Route("/v1/models/{name}", dialects.model)]
    # No connection is closed as the next request is sent on it.
    kept = {"timeout_keep_alive": 3600, "log_level": "error"}
    config = uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=0, **kept)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield dialects, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
