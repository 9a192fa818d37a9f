"""Is what the gateway needs beside TurnMix's own dependencies installed? Asked before anything of it is begun."""

from __future__ import annotations

from turnmix.core.errors import MissingDependencyError


def check_gateway_installed() -> None:
    """Raises MissingDependencyError: the optional part is not installed."""
    try:
        import httptools  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401

        import turnmix.gateway.dialects  # noqa: F401
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "turnmix":
            raise
        raise MissingDependencyError(
            f"the gateway needs {missing}, which is not installed: install turnmix[gateway]"
        ) from None
