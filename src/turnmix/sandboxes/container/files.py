"""What reads and writes a file inside a container, and what its complaint means.

Enters: paths, in variables. Leaves: content, or the error that the file system gave, in its own words. A link
that the agent made leads somewhere inside the container; a pipe or a device is never opened.
"""

from __future__ import annotations

import errno
import os

from turnmix.sandboxes.sandbox import CommandResult

_REGULAR = """p=$turnmix_path; s=$turnmix_source
unset turnmix_path turnmix_source
if [ -e "$p" ] && [ ! -d "$p" ] && [ ! -f "$p" ]; then echo ': Invalid argument'; exit 1; fi
"""
READ = f'{_REGULAR}LC_ALL=C exec cat -- "$p"'
WRITE = f"""trap 'rm -f -- "$s"' EXIT
{_REGULAR}export LC_ALL=C
directory=${{p%/*}}
[ -d "$directory/" ] || mkdir -p -- "$directory" || exit 1
cat -- "$s" >"$p"
"""
_NUMBERS = {os.strerror(number).lower(): number for number in sorted(errno.errorcode, reverse=True)}
_OTHER_WORDS = {
    "directory nonexistent": errno.ENOENT,
    "nonexistent directory": errno.ENOENT,
    "nonexistent": errno.ENOENT,
}


def file_error(result: CommandResult, path: str) -> OSError:
    """The error that a script above ended with.

    >>> file_error(CommandResult(exit_code=1, output=b"cat: /a: Is a directory"), "/a")
    IsADirectoryError(21, 'Is a directory')
    """
    if result.exit_code is None:
        return OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT), path)
    words = result.output.decode("utf-8", "replace").strip().rpartition(": ")[2].strip().lower()
    number = _NUMBERS.get(words) or _OTHER_WORDS.get(words) or errno.EIO
    return OSError(number, os.strerror(number), path)
