"""What a directory holds, two levels deep, told by the shell's own globs: `find` need not exist."""

from __future__ import annotations

from turnmix.sandboxes.sandbox import Sandbox
from turnmix.scaffold.observation import error, printable

_LIMIT = 1 << 20
_SCRIPT = """for entry in * */*; do
  if [ -d "$entry" ] && [ ! -L "$entry" ]; then printf '%s/\\000' "$entry"
  elif [ -e "$entry" ] || [ -L "$entry" ]; then printf '%s\\000' "$entry"; fi
done"""


async def list_directory(sandbox: Sandbox, path: str) -> str:
    """One entry a line, sorted, relative to `path`, directories with a slash; hidden ones left out.

    Raises:
        SandboxError: the sandbox failed.
    """
    result = await sandbox.run(_SCRIPT, working_directory=path, output_limit=_LIMIT)
    if result.exit_code is None:
        return error(f"Listing {path} took too long.")
    entries = sorted(
        printable(entry.decode("utf-8", "replace")) for entry in result.output.split(b"\0") if entry
    )
    if result.exit_code != 0:
        return error(f"Cannot list {path}: {' '.join(entries).strip()}")
    return "\n".join([f"{path}:", *entries]) if entries else f"[{path} is empty]"
