"""Learning: rendering, trees, loss, learner, checkpoints. Synchronous; beside policies.local, all of
torch."""
