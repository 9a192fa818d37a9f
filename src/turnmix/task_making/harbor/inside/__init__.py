"""Programs that run in Harbor's containers, as tests of tasks that were written out: with Python alone."""
