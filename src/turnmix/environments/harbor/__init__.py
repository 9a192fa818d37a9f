"""Harbor task directories as tasks."""
