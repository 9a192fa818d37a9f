"""Whose fault an answer without an answer is: by its status, and by the words of every provider.

In: a status and a body. Out: a `Remedy`. An error that comes as HTTP 200 has the status that its code says.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from turnmix.policies.endpoint.wire import read_json

Remedy = Literal["retry", "wait", "context", "user", "address", "state"]
"""
retry    passes by itself
wait     passes with time, for all conversations: a rate limit
context  the conversation is too long, which is data
user     the settings are wrong, and no other request fares better: a key, an account
address  nothing is served there; wrong settings before the first answer, later a server that is away
state    this one request was refused, and asking the same again does not help
"""

_SETTING = r"(?:(?!max_\w*tokens|temperature|top_p|per.minute|quota).)"
"""Any character of a text that does not come to speak of a setting or of a rate."""
_CONTEXT = re.compile(
    r"context.?(length|window|size|limit|shift)|max(imum)?.?context|max(imum)?.?model.?len|exceed_context"
    rf"|\b(prompt|inputs?|request|messages?|conversation)\b{_SETTING}{{0,60}}\btoo.(long|large)"
    r"|\btoo many (input |prompt |total |text )*(tokens|bytes)|request_too_large|tokens_limit_reached"
    r"|\b(prompt|inputs?|messages|token count|requested tokens?)\b(?!.{0,40}per.minute).{0,60}?\bexceed(s|ed)?\b"
    r"|\bexceed(s|ed)?\b.{0,60}?\b(prompt|input|token).(length|limit|tokens)|\bexceed.{0,20}max_num_tokens"
    r"|(max|maximum|max allowed|allowed maximum).?(prompt|input).?(length|tokens|size)|range of input length"
    r"|max(imum)?.?seq(uence)?.?len|sequence length.{0,40}exceed|more than (the )?max(imum)?.?tokens.allowed"
    r"|\btoken.?limit.?exceeded(?!.{0,60}per.(minute|day|hour))|exceed.{0,20}message tokens|body.{0,9}length limit"
    r"|longer than the (model|max)|larger than the max|`inputs`.{0,60}must (be|have)"
    r"|reduce (the|your) (length|prompt|input|size|number of)|tokens must be reduced"
    r"|must be at least 1, got -\d|prompt ?超长|输入.{0,12}超",
    re.IGNORECASE | re.DOTALL,
)
_NEVER_PASSES = re.compile(r"request too large|tokens must be reduced", re.IGNORECASE)
"""A rate limit that the one request exceeds by itself."""
_ACCOUNT = re.compile(r"insufficient.?(quota|balance|funds|credit)|credit balance|billing_hard|arrear", re.I)
_KEY = (
    r"(api.?key|access.?token|credentials?|authentication token).{0,6}(is |was |are )?(not |in)"
    r"(valid|correct|found|active|authori[sz]ed)|(api.?key|access.?token).{0,4}(has |is )?(missing|expired|revoked)"
    r"|(invalid|incorrect|no|missing|expired|unknown).{0,8}(api.?key|access.?token)"
)
_BAD_KEY = re.compile(_KEY, re.IGNORECASE)
_OVERLOADED = re.compile(r"overloaded|capacity", re.IGNORECASE)

_WAITED = frozenset({429, 498, 529})
_RETRIED = frozenset({408, 409, 421, 423, 424, 425, 440, 444, 460, 499})
_REFUSED = frozenset({400, 403, 422, 451})
"""May be about the settings, or about what one conversation holds: moderation and firewalls answer 403, 451."""
_USERS = frozenset({401, 402, 407})

_SAID: tuple[tuple[str, int], ...] = (
    (r"insufficient.?(quota|balance|funds|credit)|payment|billing|arrear", 402),
    (r"rate.?limit|too.?many.?requests|resource.?exhausted|throttl|quota|速率|限流|频率", 429),
    (rf"unauthenticated|not.?authenticated|unauthorized|authentication|{_KEY}", 401),
    (r"overloaded|unavailable|capacity|no available|try again|internal|server.?error|time.?out|cancel", 503),
    (r"not.?found|does.not.exist|no such|unknown model|unexpected endpoint|not supported by any provider", 404),
    (r"permission|forbidden|moderation|flagged|content.?policy", 403),
    (r"invalid.?(request|argument|param)|bad.?request|unprocessable|validation|unsupported", 400),
)  # fmt: skip


_TOLD = ("message", "msg", "detail", "title", "fault", "Output", "errorMessage", "error_msg")
"""Where a body without any choice says why there is none."""


def remedy_for(status: int, text: str) -> Remedy:
    """What a status other than 200 calls for.

    >>> remedy_for(503, ""), remedy_for(401, ""), remedy_for(400, "maximum context length is 4096 tokens")
    ('retry', 'user', 'context')
    >>> remedy_for(429, "slow down"), remedy_for(404, "no such page"), remedy_for(499, "cancelled")
    ('wait', 'address', 'retry')
    """
    if status == 413 or (status in (400, 422, 500) and _CONTEXT.search(text)):
        return "context"
    if status in _WAITED:
        if _ACCOUNT.search(text):
            return "user"
        return "context" if _NEVER_PASSES.search(text) else "wait"
    if status >= 500 or status in _RETRIED:
        return "wait" if status == 503 and _OVERLOADED.search(text) else "retry"
    if status in _USERS:
        return "user"
    if status in _REFUSED:
        return "user" if _ACCOUNT.search(text) or is_about_key(text) else "state"
    return "address"


def is_about_key(text: str) -> bool:
    """Does a refusal say that the key will not do? Some providers say so with HTTP 400.

    >>> is_about_key("API key not valid. Please pass a valid API key."), is_about_key("no such field: key")
    (True, False)
    """
    return _BAD_KEY.search(text) is not None


def said_status(body: bytes) -> int | None:
    """The status that the error in a body of HTTP 200 stands for; None: there is no error in it.

    >>> said_status(b'{"error": {"message": "Invalid API key", "code": 401}}')
    401
    >>> said_status(b'{"error": "Unexpected endpoint or method. (POST /chat/completions)"}')
    404
    >>> said_status(b'{"choices": [{"message": {"content": "an \\\\"error\\\\""}}]}') is None
    True
    """
    if b'"choices"' in body and not any(word in body for word in (b'"error', b"base_resp", b'"err')):
        return None
    try:
        data = read_json(body)
    except ValueError:
        return None
    error = _error_in(data)
    if error is None and isinstance(data, dict) and "choices" not in data and any(map(data.get, _TOLD)):
        error = data
    if error is None:
        return None
    for code in _codes(error):
        if 300 <= code <= 599:
            return code
    text = str(error)
    if _CONTEXT.search(text):
        return 400
    return next((status for words, status in _SAID if re.search(words, text, re.IGNORECASE)), 500)


def _error_in(data: Any) -> Any:
    """What a body says of a failure, in the shapes of OpenAI, FastAPI, OpenRouter, MiniMax and others."""
    if isinstance(data, list):
        return next((error for one in data if (error := _error_in(one)) is not None), None)
    if not isinstance(data, dict):
        return None
    for name in ("error", "errors", "err"):
        if data.get(name):
            return data[name]
    if data.get("object") == "error" or data.get("type") == "error" or "error_code" in data:
        return data
    base = data.get("base_resp")
    if isinstance(base, dict) and base.get("status_code"):
        return base
    return _error_in(data.get("choices"))


def _codes(error: Any) -> list[int]:
    """The numbers in it that may be a status: those of `code` and `status`, outermost first."""
    if isinstance(error, list):
        return [code for one in error for code in _codes(one)]
    if not isinstance(error, dict):
        return []
    values = [error.get(name) for name in ("code", "status", "status_code", "statusCode", "http_status")]
    return [int(value) for value in values if isinstance(value, (int, str)) and str(value).isdigit()]
