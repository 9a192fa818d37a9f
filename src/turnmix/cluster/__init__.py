"""A recipe's work on many machines, by Ray."""
