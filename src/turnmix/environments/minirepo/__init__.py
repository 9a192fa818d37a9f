"""minirepo: a seeded, endless family of small broken Python repositories. Needs no network and no container."""
