"""Repositories that a container image brings along."""
