"""Puts this folder on the import path, so that tests of every folder can share `chat_models`.

Models in tests are tiny, and tests run side by side: a second thread of torch would mostly wait, and hinder the others.
"""

import atexit
import os
import shutil
import tempfile

from hypothesis import HealthCheck, settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="turnmix-state-")
"""Which runs were made here is noted apart from the user's own."""
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

settings.register_profile(
    "the same each time", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("the same each time")
"""A property is tried on the same examples each time, however slow the machine. With `--hypothesis-profile default`
others are tried."""

os.environ.update(
    {
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_agent_register_timeout_ms": "300000",
        "RAY_worker_niceness": "0",
        "RAY_worker_register_timeout_seconds": "300",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
)
"""A machine that is busy with other tests starts Ray's nodes slowly. Ray reads this once, when it is first imported."""
