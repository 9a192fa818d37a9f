"""One session with an OpenEnv server: what is said over its WebSocket, and what it says that its actions are.

In: an address, messages. Out: what the server answers, as JSON. All waiting and all sizes are bounded; a server that is
gone, slow or answers anything else is an InfrastructureError.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Protocol
from urllib.parse import urlsplit

from turnmix.core.errors import InfrastructureError, first_line
from turnmix.core.json_text import json_text, json_value
from turnmix.environments.optional_library import optional_library
from turnmix.scaffold.observation import printable

CONNECT_SECONDS = 10.0
MOST_BYTES = 16 * 2**20
"""Of one answer."""
_LOCAL = ("localhost", "127.0.0.1", "::1")


class Refused(Exception):
    """The server takes no such action, and says why: the agent's mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a reset or a step led to."""

    observation: Mapping[str, Any] = field(default_factory=dict)
    reward: float = 0.0
    """0 where the server says none."""
    is_done: bool = False


class Connection(Protocol):
    """What is used of a WebSocket."""

    async def send(self, message: str) -> None: ...
    async def recv(self) -> str | bytes: ...
    async def close(self) -> None: ...


def websockets_client() -> ModuleType:
    """The library. Raises MissingDependencyError."""
    return optional_library("websockets.asyncio.client", source="openenv", extra="openenv")


async def action_schema(url: str, *, seconds: float) -> Mapping[str, Any]:
    """What the server says that an action is, as a JSON schema. Raises InfrastructureError."""
    import httpx

    address = f"{_with_scheme(url, 'http')}/schema"
    try:
        told = await asyncio.wait_for(_fetched(address, url), min(seconds, 3 * CONNECT_SECONDS))
        schema = json_value(told)["action"]
        if not isinstance(schema, dict):
            raise TypeError(f"its action is {schema!r:.100}")
    except InfrastructureError:
        raise
    except asyncio.TimeoutError:
        raise InfrastructureError(f"{address}: it did not answer in time: is the server up?") from None
    except httpx.HTTPError as error:
        raise InfrastructureError(
            f"{address}: no OpenEnv server answers there ({first_line(error)}): start it, or mend tasks.url"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InfrastructureError(
            f"{address}: it tells no schema of actions ({first_line(error)})"
        ) from error
    return schema


async def _fetched(address: str, url: str) -> bytes:
    import httpx

    content = bytearray()
    async with (
        httpx.AsyncClient(timeout=CONNECT_SECONDS, trust_env=not _is_local(url)) as client,
        client.stream("GET", address) as response,
    ):
        if response.status_code != 200:
            raise InfrastructureError(f"{address}: it answered with status {response.status_code}, not 200")
        async for part in response.aiter_bytes():
            content += part
            if len(content) > MOST_BYTES:
                raise InfrastructureError(f"{address}: its answer is longer than {MOST_BYTES} bytes")
    return bytes(content)


class OpenEnvSession:
    """An episode on a server; it ends with the connection."""

    def __init__(self, url: str, *, seconds: float) -> None:
        """`seconds`: of one answer."""
        self._address = f"{_with_scheme(url, 'ws')}/ws"
        self._is_local = _is_local(url)
        self._seconds = seconds
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Connect. Raises InfrastructureError."""
        options = {"proxy": None} if self._is_local else {}
        try:
            self._connection = await websockets_client().connect(
                self._address,
                open_timeout=CONNECT_SECONDS,
                close_timeout=1.0,
                max_size=MOST_BYTES,
                ping_timeout=None,
                **options,
            )
        except Exception as error:
            raise self._failed(
                f"no session can be opened ({type(error).__name__}: {first_line(error)})"
            ) from error

    async def reset(self, options: Mapping[str, Any]) -> Outcome:
        """Raises InfrastructureError."""
        try:
            return self._outcome(await self._ask({"type": "reset", "data": dict(options)}))
        except Refused as refused:
            raise self._failed(f"it refuses to reset: {refused}") from None

    async def step(self, action: Mapping[str, Any]) -> Outcome:
        """Raises Refused: it is no action of this server; InfrastructureError."""
        return self._outcome(await self._ask({"type": "step", "data": dict(action)}))

    async def close(self) -> None:
        """End the session. Safe to call twice; a server that is gone is closed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await asyncio.wait_for(connection.close(), 3.0)
            except Exception:  # it is gone, which is all that was wanted
                return

    async def _ask(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._connection is None:
            raise self._failed("the session is closed")
        try:
            # Lone surrogates cannot be sent, and some servers end a session over them.
            await asyncio.wait_for(
                self._connection.send(printable(json_text(message, ensure_ascii=False))), self._seconds
            )
            told = await asyncio.wait_for(self._connection.recv(), self._seconds)
        except asyncio.TimeoutError:
            raise self._failed(
                f"it did not answer within {self._seconds:g} s (tasks.answer_seconds)"
            ) from None
        except Exception as error:
            raise self._failed(f"it is gone ({type(error).__name__}: {first_line(error)})") from error
        try:
            answer = json_value(told)
            kind, data = answer["type"], answer.get("data", {})
            if not isinstance(data, dict):
                raise TypeError("its data is no object")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._failed(
                f"its answer is none of OpenEnv's ({type(error).__name__}: {first_line(error)})"
            ) from None
        if kind == "error":
            self._refuse(data)
        if kind != "observation":
            raise self._failed(f"it answered with {kind!r:.60} where an observation was due")
        return data

    def _refuse(self, data: Mapping[str, Any]) -> None:
        code, told = data.get("code"), str(data.get("message", "no reason given"))[:1000]
        if code == "VALIDATION_ERROR":
            raise Refused(_wrong_fields(data.get("errors")) or told)
        if code == "CAPACITY_REACHED":
            raise self._failed(
                f"it takes no more than {data.get('max_sessions')} sessions at once: lower rollouts.concurrency and "
                "student.cohort_size, or raise max_concurrent_envs of the server"
            )
        raise self._failed(f"it failed: {code!r:.60}: {told}")

    def _outcome(self, data: Mapping[str, Any]) -> Outcome:
        observation, reward, done = data.get("observation"), data.get("reward"), data.get("done", False)
        is_number = isinstance(reward, (int, float)) and math.isfinite(reward)
        if (
            not isinstance(observation, dict)
            or not (reward is None or is_number)
            or not isinstance(done, bool)
        ):
            raise self._failed(f"its answer holds no observation, reward and done: {str(dict(data))[:200]}")
        return Outcome(observation=observation, reward=float(reward or 0), is_done=done)

    def _failed(self, told: str) -> InfrastructureError:
        return InfrastructureError(f"{self._address}: {told}")


def _wrong_fields(errors: Any) -> str:
    """What pydantic found wrong, a field each."""
    if not isinstance(errors, list):
        return ""
    told = [each for each in errors[:5] if isinstance(each, dict)]
    return "; ".join(
        f"{'.'.join(map(str, each.get('loc') or ())) or 'action'}: {each.get('msg')}"[:200] for each in told
    )


def _with_scheme(url: str, plain: str) -> str:
    """`url` over HTTP or WebSocket, as safe as it says."""
    scheme, _, rest = url.partition("://")
    return f"{plain}{'s' if scheme in ('https', 'wss') else ''}://{rest.rstrip('/')}"


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in _LOCAL
