"""Scaffolds that start themselves, and take a run's plans."""
