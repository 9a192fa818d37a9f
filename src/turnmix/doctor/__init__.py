"""Can this recipe run here? Asked in seconds, before anything long."""
