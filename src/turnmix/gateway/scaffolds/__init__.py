"""Scaffolds that a run starts itself, and trajectories of what they did."""
