"""Learning: rendering, trees, loss, learner, checkpoints. Synchronous; the only layer that needs torch besides policies.local."""
