"""Runs and trajectories as a person reads them."""
