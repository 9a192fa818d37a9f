#!/bin/sh
# Make an environment of its own with verifiers, $1, over the packages of the environment of $2: its pins are others than
# those of TurnMix's tests.
set -eu
[ -x "$1/bin/python" ] && "$1/bin/python" -c "import verifiers" 2>/dev/null && exit
"$2" -m venv --clear "$1"
below=$("$2" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
own=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "import sys; sys.path.append('$below')" >"$own/below.pth"
"$1/bin/python" -m pip install --quiet --no-compile "verifiers>=0.4,<0.5"
