"""Small tokenizers, chat templates and random models in the shapes of the Qwen3 family, made in memory."""

from __future__ import annotations

import functools

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from turnmix.core.message import Message, ToolCall, ToolSpecification
from turnmix.core.trajectory import State

# Thinking of earlier turns is left out, and with thinking off the generation prompt closes an empty block
# that no rendered turn carries: the hardest case, near the way of the hybrid Qwen3 models.
HERMES_TEMPLATE = """
{%- if tools %}
  {{- '<|im_start|>system\n' + (messages[0].content if messages[0].role == 'system' else '') + '\nTools:' }}
  {%- for tool in tools %}{{- '\n' + (tool | tojson) }}{%- endfor %}
  {{- '\nCall one as <tool_call>{"name": ..., "arguments": ...}</tool_call>.<|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
  {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'user' %}
    {{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'tool' %}
    {{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response><|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {%- set content = message.content if loop.last else message.content.split('</think>')[-1].lstrip('\n') %}
    {{- '<|im_start|>assistant\n' + content }}
    {%- for call in message.tool_calls or [] %}
      {%- if content or not loop.first %}{{- '\n' }}{%- endif %}
      {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
      {{- (call.function.arguments | tojson) + '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}
"""

CODER_TEMPLATE = """
{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content }}{%- endif %}
{%- for tool in tools or [] %}
  {{- '\n<function>' + tool.function.name + ': ' + tool.function.description + '\n' }}
  {{- (tool.function.parameters | tojson) + '</function>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- for message in messages %}
  {%- if message.role == 'user' or message.role == 'tool' %}
    {{- '<|im_start|>user\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant\n' + message.content }}
    {%- for call in message.tool_calls or [] %}
      {{- '\n<tool_call>\n<function=' + call.function.name + '>\n' }}
      {%- for key, value in call.function.arguments | items %}
        {%- set plain = value is string or value is not iterable %}
        {%- set text = (value | string) if plain else (value | tojson) %}
        {{- '<parameter=' + key + '>\n' + text + '\n</parameter>\n' }}
      {%- endfor %}
      {{- '</function>\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""

EDIT = ToolSpecification(
    name="edit",
    description="Change a file.",
    parameters={
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "text": {"type": "string"},
            "line": {"type": "integer"},
            "share": {"type": "number"},
            "dry": {"type": "boolean"},
            "view_range": {"type": "array", "items": {"type": "integer"}},
            "options": {"type": "object"},
        },
        "required": ["path"],
    },
)
FINISH = ToolSpecification(
    name="finish", description="Submit.", parameters={"type": "object", "properties": {}, "required": []}
)
TOOLS = (EDIT, FINISH)

_CORPUS = [
    "def add(first, second): return first + second",
    "the file was edited\n\n",
    '{"name": "edit"}',
] * 20


@functools.lru_cache
def make_tokenizer(
    template: str = HERMES_TEMPLATE,
    *,
    added_token_strips: bool = False,
    normalizes: bool = False,
    overlaps: bool = False,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 340 tokens or so, with ChatML and tool-call tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if normalizes:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=330, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    plain = ("<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_call")
    plain += ("add <|im_s", "|im_end|> ") if overlaps else ()
    tokenizer.add_tokens([AddedToken(token, normalized=False, rstrip=added_token_strips) for token in plain])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", name_or_path="tiny"
    )
    fast.chat_template = template
    return fast


def make_model(vocabulary_size: int, *, seed: int = 0, context: int = 4096) -> Qwen3ForCausalLM:
    """A random Qwen3 of two layers with grouped heads; weights large enough that it has preferences."""
    config = Qwen3Config(
        vocab_size=vocabulary_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=context,
        initializer_range=0.3,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    generator_state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(config).eval()
    torch.set_rng_state(generator_state)
    return model


def conversation(*messages: Message) -> State:
    """A state that begins with a system and a user message."""
    prompt = (Message(role="system", content="You repair."), Message(role="user", content="Repair add."))
    return State(messages=(*prompt, *messages), tools=TOOLS)


def assistant(content: str, **calls: dict) -> Message:
    """An assistant message that calls each named tool with the given arguments."""
    made = [
        ToolCall(id=f"call_{i}", name=name, arguments=given) for i, (name, given) in enumerate(calls.items())
    ]
    return Message(role="assistant", content=content, tool_calls=tuple(made))


def answer(content: str) -> Message:
    return Message(role="tool", content=content, tool_call_id="call_0")
