"""One short file a post-training method: who acts, what is taught, with which weight (paper Table 2)."""
