"""TurnMix: train an agent in the states it will really visit.

Importing this package has no side effect and loads neither torch nor an HTTP client.
"""

__version__ = "0.1.0"
