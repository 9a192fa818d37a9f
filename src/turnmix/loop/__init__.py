"""The one loop: its stages, what it is given, and in which order it does what."""
