"""Tasks of TurnMix, written out as Harbor task directories."""
