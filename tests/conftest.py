"""Puts this folder on the import path, so that tests of every folder can share `chat_models`.

Models in tests are tiny, and tests run side by side: a second thread of torch would mostly wait, and hinder the others.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
