"""In: this process's environment. Out: what of it a program that TurnMix starts gets: a list, never the whole.

An environment holds keys of services that have nothing to do with the program. It gets what says where things lie and
how to compute; more only by name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping

from turnmix.core.redaction import redacted

_LISTED = re.compile(
    r"""
    PATH | HOME | USER | LOGNAME | SHELL | TERM | COLUMNS | NO_COLOR | FORCE_COLOR | LANG | LANGUAGE | TZ
    | TMPDIR | TEMP | TMP | LD_LIBRARY_PATH | DYLD_LIBRARY_PATH | LIBRARY_PATH | CPATH | CC | CXX | CUDACXX
    | PYTHONPATH | PYTHONHASHSEED | VIRTUAL_ENV | CONDA_PREFIX | TOKENIZERS_PARALLELISM
    | SSL_CERT_FILE | SSL_CERT_DIR | REQUESTS_CA_BUNDLE | CURL_CA_BUNDLE
    | (HTTP|HTTPS|ALL|NO)_PROXY | (http|https|all|no)_proxy
    | (LC|XDG|OMP|MKL|KMP|GOMP|OPENBLAS|NUMEXPR)_\w+
    | (CUDA|NVIDIA|CUDNN|CUBLAS|NCCL|GLOO|UCX|HIP|ROCM|ROCR|HSA|ONEAPI|ZE|SYCL|TPU|XLA)_\w+
    | (TORCH|TORCHINDUCTOR|PYTORCH|TRITON|HF|HUGGINGFACE|TRANSFORMERS|SAFETENSORS|VLLM|FLASHINFER)_\w+
    """,
    re.VERBOSE,
)
_KEY = re.compile(r"KEY|TOKEN(?!IZ)|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_MAY_HOLD_KEY = re.compile(r"://[^\s/]*@|://\S*[?#]")
"""URLs with a user, a query or a fragment."""


def child_environment(
    further: Iterable[str] = (), *, environment: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What a program gets of `environment`, which is this process's own; `further`: names of more.

    >>> mine = {"PATH": "/bin", "HF_HOME": "/hub", "HF_TOKEN": "hf_0", "HTTP_PROXY": "http://me:hush@proxy", "X": "1"}
    >>> child_environment(environment=mine)
    {'PATH': '/bin', 'HF_HOME': '/hub'}
    >>> child_environment(["HF_TOKEN"], environment=mine)
    {'PATH': '/bin', 'HF_HOME': '/hub', 'HF_TOKEN': 'hf_0'}
    """
    named = frozenset(further)
    own = os.environ if environment is None else environment
    return {name: value for name, value in own.items() if name in named or _is_listed(name, value)}


def _is_listed(name: str, value: str) -> bool:
    is_listed = _LISTED.fullmatch(name) is not None and not _KEY.search(name)
    return is_listed and not _MAY_HOLD_KEY.search(value) and redacted(value) == value
