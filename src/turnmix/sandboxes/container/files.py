"""What reads and writes a file inside a container, and what its complaint means.

In: paths, in variables. Out: content, or the error that the file system gave, in its own words; a file
that could not be written is then what it was before. A link
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
# A new file takes the old one's place. Where that cannot be (the file has several names, is a mount, or the
# image lacks a program), the old content is kept aside until the new one is written whole.
WRITE = f"""trap 'rm -f -- "$s" "$beside" "$kept"' EXIT
beside=
kept=
{_REGULAR}export LC_ALL=C
if [ -h "$p" ] && target=$(readlink -f -- "$p" 2>/dev/null && echo x); then p=${{target%??}}; fi
directory=${{p%/*}}
beside=$directory/${{s##*/}}-new
kept=/${{s##*/}}-old
above=$directory
until [ -d "$above/" ]; do above=${{above%/*}}; done
failed() {{
    while [ "$directory" != "$above" ]; do
        rmdir -- "$directory" 2>/dev/null || break
        directory=${{directory%/*}}
    done
    exit 1
}}
has_one_name() {{
    listing=$(ls -ld -- "$p") || return 1
    set -- $listing
    [ "$2" = 1 ]
}}
[ -d "$directory/" ] || mkdir -p -- "$directory" || failed
if [ ! -e "$p" ]; then
    cat -- "$s" >"$p" && exit
    [ -h "$p" ] || rm -f -- "$p"
    failed
fi
{{
    [ -f "$p" ] && [ -w "$p" ] && has_one_name && cp -p -- "$p" "$beside" && cat -- "$s" >"$beside" &&
        mv -f -- "$beside" "$p" && exit
    rm -f -- "$beside"
}} 2>/dev/null
: >>"$p" && cat -- "$p" >"$kept" || exit 1
cat -- "$s" >"$p" && exit
cat -- "$kept" >"$p"
exit 1
"""
_NUMBERS = {os.strerror(number).lower(): number for number in sorted(errno.errorcode, reverse=True)}
_OTHER_WORDS = {
    "directory nonexistent": errno.ENOENT,
    "nonexistent directory": errno.ENOENT,
    "nonexistent": errno.ENOENT,
}


def check_path(path: str) -> None:
    """Raises OSError: it is none inside a container."""
    if not path.startswith("/") or "\0" in path:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)


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
