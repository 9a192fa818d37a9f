"""What is remembered of conversations ends with them: a long run holds no more than the latest ones' text."""

import gc

from turnmix.core.message import Message
from turnmix.rendering.control_text import ControlTexts
from turnmix.rendering.message_memory import MessageMemory

TEXT = "x" * 1_000_000
ROLES = ("system", "user", "assistant", "user", "assistant", "user")


def test_conversations_that_have_ended_are_forgotten_by_the_length_of_their_text():
    memory = MessageMemory(
        show=lambda message, name: {"role": message.role, "content": message.content},
        see=lambda mappings: mappings,
        control=ControlTexts(["<|im_end|>"]),
    )
    before = num_messages()
    for _ in range(60):
        messages = [Message(role=role, content=TEXT) for role in ROLES]
        for size in range(2, len(messages) + 1, 2):
            memory.shown(messages[:size], [None] * size)
    assert num_messages() - before < 120


def num_messages():
    gc.collect()
    return sum(type(each) is Message for each in gc.get_objects())
