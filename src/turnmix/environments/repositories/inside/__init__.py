"""What runs inside a sandbox with the task's own Python: the standard library and pytest alone."""
