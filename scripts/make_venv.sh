#!/bin/sh
# Make the environment $VENV with $PYTHON and install TurnMix for development in it, in the versions of $CONSTRAINTS.
set -eu
if ! command -v "$PYTHON" >/dev/null; then
    echo "Python 3.10 or newer is needed, and there is no '$PYTHON': install python3, or make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "Python 3.10 or newer is needed, not $("$PYTHON" -V): make PYTHON=/path/to/a/newer/python3" >&2
    exit 1
fi
if ! "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null; then
    version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    sh "$(dirname "$0")/apt_install.sh" "python$version-venv"
fi
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
    "$PYTHON" -m venv --clear "$VENV"
fi
# torch first and in the tested version: left to a dependency, a build with several GB of CUDA could come.
if ! "$VENV/bin/python" -c 'import torch' 2>/dev/null; then
    echo "installing torch"
    "$VENV/bin/python" -m pip install --quiet --constraint "$CONSTRAINTS" torch
fi
echo "installing turnmix and what it needs"
"$VENV/bin/python" -m pip install --quiet --constraint "$CONSTRAINTS" --editable ".[containers,dev,tasks]"
