"""A sandbox in a container of its own, over the Docker API of Docker or Podman."""
