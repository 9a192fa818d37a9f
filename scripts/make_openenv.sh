#!/bin/sh
# Make an environment of its own with OpenEnv's server and client, $1, for the tests: its packages are many, and TurnMix
# needs none of them.
set -eu
[ -x "$1/bin/python" ] && "$1/bin/python" -c "import openenv" 2>/dev/null && exit
"${PYTHON:-python3}" -m venv --clear "$1"
"$1/bin/python" -m pip install --quiet --no-compile "openenv-core>=0.3,<0.4"
