"""Pure data: tasks, messages, trajectories, transitions and errors. No torch, no HTTP, no I/O."""
