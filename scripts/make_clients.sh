#!/bin/sh
# Make two environments of scaffolds that others wrote, which the tests let ask the gateway: $1, with the clients of
# OpenAI and Anthropic, openai-agents and mini-swe-agent, and $2, with OpenHands' SDK, where there is a Python >= 3.12.
# What is installed stands in clients/*.txt, to the version, without what only other parts of these packages need.
set -eu
here=$(dirname "$0")/clients

make_environment() {
    environment=$1 python=$2 list=$here/$3
    cmp -s "$list" "$environment/installed.txt" && return
    "$python" -m venv --clear "$environment"
    "$environment/bin/python" -m pip install --quiet --no-compile --no-deps --requirement "$list"
    cp "$list" "$environment/installed.txt"
}

newer_python() {
    for python in "${PYTHON:-python3}" python3.12 python3.13 python3.14 "$HOME"/.pyenv/versions/3.1[234].*/bin/python; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
}

make_environment "$1" "${PYTHON:-python3}" clients.txt
python=$(newer_python)
if [ -n "$python" ]; then
    make_environment "$2" "$python" openhands.txt
else
    echo "no Python >= 3.12 is here: OpenHands' SDK will not be tested" >&2
fi
