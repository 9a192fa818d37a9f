#!/bin/sh
# Install Debian packages where this user may (root, or sudo that asks for no password); else name them.
set -eu
if [ "$(id -u)" = 0 ]; then
    sudo=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo="sudo -n"
else
    echo "please install what is missing, then try again: sudo apt-get install $*" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "please install what is missing with your system's package manager: $*" >&2
    exit 1
fi
echo "installing $*"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # no sudo is no word
if ! { $sudo apt-get install -y --no-install-recommends "$@" ||
    { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends "$@"; }; } >"$log" 2>&1; then
    tail -n 5 "$log" >&2
    echo "apt-get could not install: $*" >&2
    exit 1
fi
