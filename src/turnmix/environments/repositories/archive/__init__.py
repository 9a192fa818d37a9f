"""Repositories that lie in a tar archive beside the task file, for code that has no image."""
