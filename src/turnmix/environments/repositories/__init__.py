"""Real repositories as tasks: one task file for every source, laid into a sandbox, graded by their own tests."""
