"""How good a student is: greedy, on its own, on tasks it was not taught."""
