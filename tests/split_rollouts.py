"""Mixed rollouts of a wanted shape, as transitions of tokens."""

from turnmix.training.tree import RenderedTransition


def rollout(generator, *, num_turns, label, action=4, observation=8, prompt=(), beta=0.5, vocabulary=1000):
    """On a student turn the label of `label` tokens branches off the executed path."""

    def tokens(count):
        return tuple(generator.randrange(vocabulary) for _ in range(count))

    history, made = prompt or tokens(20), []
    for _ in range(num_turns):
        labelled = tokens(label)
        made.append(RenderedTransition(prompt_ids=history, target_ids=labelled, group="a"))
        history += (labelled if generator.random() < beta else tokens(action)) + tokens(observation)
    return made
