"""Who acts (mixture), one task's rollout, and many at once (collector)."""
