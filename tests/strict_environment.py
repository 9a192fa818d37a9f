"""The environment in which tests start `turnmix`: 80 columns, one thread, and no call that a release will take away."""

import os

STRICT = "error::FutureWarning,error::DeprecationWarning,error::PendingDeprecationWarning"


def strict_environment():
    """Of now, as a test may have changed it."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80", "PYTHONWARNINGS": STRICT}
