"""A program that renders a chat template within bounds: of time, and of memory.

In, as JSON on standard input: where modules lie, the bounds, the template, and what to render it with. Out: the exit
status, and the length of the longest text. A template that fails is no concern of this program.
"""

import contextlib
import json
import os
import resource
import sys
from typing import Any, NoReturn

TOO_MUCH_MEMORY = 3


def main() -> None:
    given = json.loads(sys.stdin.read())
    sys.path[:] = given["path"]
    environment = make_environment()
    resource.setrlimit(resource.RLIMIT_AS, (given["bytes"], given["bytes"]))
    # The first bound is told by a signal of its own, so that no other end is taken for it.
    resource.setrlimit(resource.RLIMIT_CPU, (given["seconds"], given["seconds"] + 2))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    longest = 0
    with contextlib.suppress(Exception):
        template = _within_memory(environment.from_string, given["template"])
        for arguments in given["conversations"]:
            with contextlib.suppress(Exception):
                longest = max(longest, len(_within_memory(template.render, **arguments)))
    sys.stdout.write(str(longest))


def make_environment() -> Any:
    """What transformers gives a template, as far as a template can tell."""
    import jinja2.ext
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(jinja2.ext.Extension):
        tags = frozenset({"generation"})  # type: ignore[assignment]

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(["name:endgeneration"], drop_needle=True)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda format: format
    return environment


def _within_memory(call: Any, *arguments: Any, **named: Any) -> Any:
    try:
        return call(*arguments, **named)
    except MemoryError:
        os._exit(TOO_MUCH_MEMORY)


def _json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=True, **options)


def _raise(message: str) -> NoReturn:
    raise ValueError(message)


if __name__ == "__main__":
    main()
