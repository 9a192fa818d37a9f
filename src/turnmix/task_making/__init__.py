"""Tasks from a user's own code: injected bugs that its tests catch, and its own history."""
