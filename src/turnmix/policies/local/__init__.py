"""Models that this process runs itself."""
