#!/bin/sh
# Make LiteLLM's proxy in an environment of its own, $1, unless it is there; its program is $1/bin/litellm.
set -eu
environment=$1
"$environment/bin/python" -c "import fastapi, litellm, orjson" 2>/dev/null && exit 0
"${PYTHON:-python3}" -m venv --clear "$environment"
# Not newer: those ask for parts that are not published.
"$environment/bin/python" -m pip install --quiet "litellm[proxy]==1.106.12"
