"""What a command that was stopped, or failed, says in its message: how to go on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from turnmix.core.errors import TurnMixError, UserError


@contextmanager
def told_how_to_go_on(again: str) -> Iterator[None]:
    """`again` says how; a user's mistake is told without it."""
    try:
        yield
    except KeyboardInterrupt:
        raise TurnMixError(f"stopped; {again}") from None
    except UserError:
        raise
    except TurnMixError as error:
        raise TurnMixError(f"{error}\nturnmix: {again}") from error
    except OSError as error:
        raise TurnMixError(f"{error}\nturnmix: {again}") from error
    finally:
        sys.stdout.flush()
