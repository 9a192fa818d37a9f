"""The turn recorder behind a server that speaks as a model's endpoint does: any scaffold asks, and turns are mixed and
labelled."""
