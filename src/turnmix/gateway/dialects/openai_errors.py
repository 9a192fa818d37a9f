"""Errors as both of OpenAI's dialects write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnmix.gateway.dialects.dialect import STATUSES, error_headers
from turnmix.gateway.model_request import Fault, RequestError

_TYPES: Mapping[Fault, str] = {"unavailable": "service_unavailable_error", "internal": "server_error"}
_CODES: Mapping[Fault, str] = {
    "context_exceeded": "context_length_exceeded",
    "unauthorized": "invalid_api_key",
    "forbidden": "permission_denied",
    "not_found": "not_found",
    "conflict": "conflict",
    "too_large": "request_too_large",
    "unavailable": "server_is_overloaded",
    "internal": "server_error",
}


def error_object(error: RequestError) -> dict[str, Any]:
    return {
        "message": str(error),
        "type": _TYPES.get(error.fault, "invalid_request_error"),
        "param": error.parameter,
        "code": _CODES.get(error.fault),
    }


def error_reply(error: RequestError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers."""
    return STATUSES[error.fault], {"error": error_object(error)}, error_headers(error)
