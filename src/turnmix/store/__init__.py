"""The run directory: append-only logs and whole files of a run that may be killed at any moment."""
