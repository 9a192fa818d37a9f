"""Why trajectories stay unresolved (paper Table 4)."""
