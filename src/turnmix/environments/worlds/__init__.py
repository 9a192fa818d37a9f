"""Text worlds: games that a library makes by seed, one tool to act in them, and planners as experts."""
