"""A body of JSON that can always be written. In: a JSON value. Out: an HTTP response.

An answer repeats what its request says, and an error names it: half of a surrogate pair is written as an escape, as the
events of a stream have it, where UTF-8 has no bytes for it.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from turnmix.core.json_text import json_text


class JsonResponse(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json_text(content, separators=(",", ":")).encode()
