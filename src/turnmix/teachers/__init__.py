"""The kinds of teachers that come with TurnMix: settings, and the teacher that they make, side by side."""
