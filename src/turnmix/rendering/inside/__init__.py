"""What runs a stranger's template in a process of its own. No TurnMix is in it."""
