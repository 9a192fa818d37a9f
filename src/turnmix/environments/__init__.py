"""Where an agent acts: task sources, and the environment of one trajectory."""
