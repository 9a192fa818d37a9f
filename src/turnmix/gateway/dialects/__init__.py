"""The three ways in which scaffolds ask a model over HTTP. Each reads a body into a `ModelRequest`, and writes a
`ModelAnswer`."""

from collections.abc import Mapping

from turnmix.gateway.dialects.chat import ChatCompletions
from turnmix.gateway.dialects.dialect import Dialect
from turnmix.gateway.dialects.messages import Messages
from turnmix.gateway.dialects.responses import Responses

DIALECTS: Mapping[str, Dialect] = {
    dialect.path: dialect for dialect in (ChatCompletions(), Responses(), Messages())
}
"""By the path below a base URL."""
