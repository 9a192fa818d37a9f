"""Fetching an image: with progress, with patience, and with a clear word when a registry refuses.

In: an image's name. Out: the image, on the machine where containers run. All of it blocks: it is called
in a thread of which there are few.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from turnmix.core.errors import SandboxError, TurnMixError, UserError
from turnmix.core.terminal import tell
from turnmix.sandboxes.container.settings import ContainerSettings
from turnmix.sandboxes.sandbox import ImageSettings

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
REPORT_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PullProgress:
    """How far the fetching of one image is, as far as the registry says."""

    image: str
    done_bytes: int
    total_bytes: int
    is_complete: bool = False


class PrintedProgress:
    """A line on standard error every few seconds, and one at the end."""

    def __init__(self) -> None:
        self._due = 0.0

    def __call__(self, progress: PullProgress) -> None:
        if not progress.is_complete and time.monotonic() < self._due:
            return
        self._due = time.monotonic() + REPORT_SECONDS
        amount = f"{progress.done_bytes / 1e6:.0f} of {progress.total_bytes / 1e6:.0f} MB"
        state = "pulled" if progress.is_complete else f"pulling ({amount})"
        tell(f"image {progress.image}: {state}")


def ensure_image(
    api: Any,
    image: str,
    settings: ContainerSettings,
    *,
    on_progress: Callable[[PullProgress], None] | None = None,
    first_pause: float = FIRST_PAUSE,
) -> None:
    """Have `image` as `settings.pull` says.

    Raises:
        UserError: there is no such image, or it may not be fetched, and the settings name it.
        SandboxError: the same of a task's own image; or the registry did not give it after all attempts.
    """
    is_here = has_image(api, image)
    if settings.pull == "never" and not is_here:
        raise _refusal(image, settings)(
            f"the image {image} is not on this machine and sandbox.container.pull = never: "
            f"fetch it by `docker pull {image}`, or set sandbox.container.pull=missing"
        )
    if settings.pull == "never" or (is_here and settings.pull == "missing"):
        return
    _pull_with_patience(api, image, settings, on_progress or PrintedProgress(), first_pause)


def has_image(api: Any, image: str) -> bool:
    """Whether `image` is on the machine where containers run."""
    from docker.errors import ImageNotFound

    try:
        api.inspect_image(image)
    except ImageNotFound:
        return False
    return True


def image_settings(api: Any, image: str) -> ImageSettings:
    """What an image that is here says of its containers."""
    said = api.inspect_image(image).get("Config") or {}
    return ImageSettings(
        working_directory=said.get("WorkingDir") or "/",
        user=said.get("User") or "",
        entrypoint=tuple(said.get("Entrypoint") or ()),
    )


def _refusal(image: str, settings: ContainerSettings) -> type[TurnMixError]:
    """What there is no hope for ends a run whose recipe names it, and costs a task that names it itself alone."""
    return UserError if image == settings.image else SandboxError


def _pull_with_patience(
    api: Any,
    image: str,
    settings: ContainerSettings,
    on_progress: Callable[[PullProgress], None],
    pause: float,
) -> None:
    from docker.errors import APIError
    from requests.exceptions import RequestException

    reason, attempts = "", settings.pull_attempts
    for attempt in range(1, attempts + 1):
        try:
            _pull(api, image, on_progress)
            return
        except (APIError, RequestException, SandboxError) as error:
            reason = str(getattr(error, "explanation", None) or error)
        if hopeless := _no_hope(image, reason):
            raise _refusal(image, settings)(hopeless)
        if attempt < attempts:
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
    if is_rate_limit(reason):
        raise SandboxError(
            f"the registry refuses to send {image}: its rate limit for this address is used up "
            f"(429 toomanyrequests, {attempts} attempts). Log in (docker login) for a higher limit, use a "
            f"mirror, or wait some hours; images that are here already are not asked for. It said: {reason}"
        )
    raise SandboxError(f"the image {image} could not be fetched in {attempts} attempts: {reason}")


def is_rate_limit(reason: str) -> bool:
    """Whether a registry's answer says that too much was fetched."""
    return any(word in reason.lower() for word in ("toomanyrequests", "too many requests", "rate limit"))


def _no_hope(image: str, reason: str) -> str | None:
    """What is to be told where a further attempt would be answered the same."""
    unknown = ("manifest unknown", "not found", "does not exist", "name unknown", "invalid reference")
    denied = ("unauthorized", "access denied", "authentication required", "denied: requested access")
    if is_rate_limit(reason):
        return None
    if any(word in reason.lower() for word in unknown):
        return f"there is no image {image}: check the name. The registry said: {reason}"
    if any(word in reason.lower() for word in denied):
        return f"no right to fetch the image {image}: log in (docker login). It said: {reason}"
    return None


def _pull(api: Any, image: str, on_progress: Callable[[PullProgress], None]) -> None:
    layers: dict[str, tuple[int, int]] = {}
    for line in api.pull(image, stream=True, decode=True):
        if "error" in line:
            raise SandboxError(str(line["error"]))
        detail = line.get("progressDetail") or {}
        if detail.get("total"):
            layers[str(line.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
            done, total = (sum(values) for values in zip(*layers.values()))
            on_progress(PullProgress(image=image, done_bytes=done, total_bytes=total))
    if not has_image(api, image):
        raise SandboxError("the pull ended without an error and without the image")
    total = sum(total for _, total in layers.values())
    on_progress(PullProgress(image=image, done_bytes=total, total_bytes=total, is_complete=True))
