"""The expert of repositories: it knows the gold patch, and looks at the sandbox."""
