"""What a run that was stopped, or failed, says in its message: how to go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from turnmix.core.errors import TurnMixError, UserError
from turnmix.core.file_descriptors import shortage


@contextmanager
def told_how_to_go_on(again: str) -> Iterator[None]:
    """`again` says how; a user's mistake is told without it."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"stopped; {again}") from None
    except UserError:
        raise
    except TurnMixError as error:
        first, *further = error.lines
        told = [first, *further, f"turnmix: {again}"] if further else [f"{first}; {again}"]
        raise type(error)(*told) from error
    except OSError as error:
        raise TurnMixError(f"{failure_text(error)}; {again}") from error
    finally:
        sys.stdout.flush()


def failure_text(error: OSError) -> str:
    """
    >>> failure_text(OSError(28, "No space left on device", "runs/a/clock.json"))
    'runs/a/clock.json: No space left on device'
    """
    told = shortage(error) or error.strerror
    return f"{error.filename}: {told}" if error.filename and told else shortage(error) or str(error)
