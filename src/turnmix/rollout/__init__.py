"""Who acts each turn (mixture), one task (rollout), many tasks (collector)."""
