"""A loss of a user's own."""

from turnmix.training.objective_settings import ObjectiveSettings


class Focal(ObjectiveSettings):
    """A loss of a user's own: what the student says already counts less, and it is not linear in the weight."""

    kind: str = "own:Focal"

    @property
    def figures(self):
        return ("confidence",)

    def make(self, parts):
        def loss(tokens):
            logprobs = tokens.logprobs()
            confidence = logprobs.exp()
            return -tokens.weights_C.square() * (1 - confidence).square() * logprobs, confidence

        return loss
