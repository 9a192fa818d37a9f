"""Tasksets of Prime Intellect's library verifiers as task sources."""
