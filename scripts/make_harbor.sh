#!/bin/sh
# Make an environment with Harbor in $1, whose own runner the tests let play tasks, where there is a Python >= 3.12; with
# podman-compose, by which it works with Podman. What is installed stands in clients/harbor.txt, to the version.
set -eu
environment=$1
list=$(dirname "$0")/clients/harbor.txt
cmp -s "$list" "$environment/installed.txt" && exit
for python in "${PYTHON:-python3}" python3.12 python3.13 python3.14 "$HOME"/.pyenv/versions/3.1[234].*/bin/python; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
        "$python" -m venv --clear "$environment"
        "$environment/bin/python" -m pip install --quiet --no-compile --no-deps --requirement "$list"
        cp "$list" "$environment/installed.txt"
        exit
    fi
done
echo "no Python >= 3.12 is here: Harbor will not be tested" >&2
exit 1
