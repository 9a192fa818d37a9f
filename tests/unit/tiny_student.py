"""A tiny Qwen3, a renderer that writes one token a character, and rollouts for them to learn from."""

import hashlib
import random

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from turnmix.core.message import Message
from turnmix.core.trajectory import Action, State
from turnmix.core.transition import Transition
from turnmix.training.learner import Learner
from turnmix.training.learner_settings import LearnerSettings

END = 1
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}


class CharacterRenderer:
    def prompt_ids(self, state):
        return [0, *(token for message in state.messages for token in self._ids(message))]

    def target_ids(self, state, action):
        return self._ids(action.message)

    def _ids(self, message):
        return [2 + ord(character) % 62 for character in message.content] + [END]


def tiny_model(seed=0):
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8, tie_word_embeddings=True))


def said(text):
    return Message(role="assistant", content=text)


def transition(history, target, weight=1.0, trajectory="a", task="t"):
    state = State(messages=tuple(said(text) for text in history), tools=())
    return Transition(
        state=state,
        target=Action(message=said(target)),
        weight=weight,
        trajectory_id=trajectory,
        task_id=task,
    )


def batch(num_trajectories=6, seed=0):
    """Rollouts in which the student strayed at random, so that labels branch off."""
    generator = random.Random(seed)
    made = []
    for index in range(num_trajectories):
        history = ["issue " + str(generator.randrange(100))]
        for _ in range(4):
            label = generator.choice(["open a", "edit b", "test", "finish"])
            made.append(transition(history, label, trajectory=str(index)))
            history = [
                *history,
                label if generator.random() < 0.5 else "stray",
                "seen " + str(generator.random())[:5],
            ]
    return made


def settings(**changes):
    return LearnerSettings(**{"learning_rate": 1e-3, "batch_size": 2, "epochs": 2, **changes})


def fitted(transitions, seed=0, **changes):
    model = tiny_model()
    learner = Learner(model, CharacterRenderer(), settings(**changes))
    report = learner.fit(transitions, generator=random.Random(seed))
    return model, report


def digest(model):
    hashed = hashlib.sha256()
    for parameter in model.parameters():
        hashed.update(parameter.detach().numpy().tobytes())
    return hashed.hexdigest()


def flat(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
