"""Trajectories to and from other programs: files of chat messages, Inspect's logs, ATIF."""
