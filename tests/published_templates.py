"""Chat templates in the manner of published models, each written anew and as short as what it does allows.

A row says what a template does that others do not, and what becomes of it: natively, and with calls as text.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from qwen3_templates import CODER, HYBRID, INSTRUCT

CHATML = """
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""

# Calls without the text beside them; Hermes 2 wants to know which tool answers.
_HERMES = """
{%- macro kind(schema) -%}{{- {'string': 'str', 'integer': 'int'}[schema.type] | default('Any') -}}{%- endmacro -%}
{{- bos_token + '<|im_start|>system\nYou call functions: <tools> ' }}
{%- for tool in tools %}
  {{- '{"name": "' + tool.function.name + '", "description": "' + tool.function.name + '(' }}
  {%- for name, schema in tool.function.parameters.properties | items %}{{- name + ': ' + kind(schema) + ', ' }}
  {%- endfor %}{{- ') ' + tool.function.description + '", "parameters": ' + (tool.function.parameters | tojson) + '}' }}
{%- endfor %}
{{- ' </tools> Write <tool_call>\n{"name": <name>, "arguments": <arguments>}\n</tool_call><|im_end|>\n' }}
{%- for message in messages %}
  {%- if message.role in ['user', 'system'] or (message.role == 'assistant' and message.tool_calls is not defined) %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant' }}
    {%- for call in message.tool_calls %}
      {{- '\n<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
      {{- (call.function.arguments | tojson) + '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- elif message.role == 'tool' %}
    NAME
    {%- if loop.previtem.role != 'tool' %}{{- '<|im_start|>tool' }}{%- endif %}
    {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
    {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
_NAMED = "{%- if message.name is not defined %}{{- raise_exception('No name of the tool') }}{%- endif %}"
HERMES_2 = {"default": CHATML, "tool_use": _HERMES.replace("NAME", _NAMED)}
HERMES_3 = {"default": CHATML, "tool_use": _HERMES.replace("    NAME\n", "")}

_ALTERNATING = """
{%- if messages[0].role == 'system' %}{%- set said = messages[0].content + '\n\n' %}{%- set turns = messages[1:] %}
{%- else %}{%- set said = '' %}{%- set turns = messages %}{%- endif %}
{%- for message in turns %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
  {%- endif %}
  TURN
{%- endfor %}
"""


def _alternating(turn: str, then: str = "") -> str:
    return _ALTERNATING.replace("  TURN\n", turn) + then


LLAMA_2 = _alternating("""
  {%- if message.role == 'user' %}
    {{- bos_token + '[INST] ' + (said if loop.first else '') + message.content | trim + ' [/INST]' }}
  {%- else %}{{- ' ' + message.content | trim + ' ' + eos_token }}{%- endif %}
""")
ZEPHYR = """
{%- for message in messages %}{{- '<|' + message.role + '|>\n' + message.content + eos_token + '\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- endif %}
"""
VICUNA = """
{%- for message in messages %}
  {%- if message.role == 'system' %}{{- message.content + '\n\n' }}
  {%- elif message.role == 'user' %}{{- 'USER: ' + message.content + '\n' }}
  {%- else %}{{- 'ASSISTANT: ' + message.content + eos_token + '\n' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'ASSISTANT:PROMPTED' }}{%- endif %}
"""
ALPACA = """
{%- for message in messages %}
  {{- {'system': '', 'user': '### Instruction:\n', 'assistant': '### Response:\n'}[message.role] }}
  {{- message.content + '\n\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '### Response:\n' }}{%- endif %}
"""
LLAMA_3 = """
{%- for message in messages %}
  {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
"""
LLAMA_3_1 = """
{%- if not date_string is defined %}
  {%- if strftime_now is defined %}{%- set date_string = strftime_now('%d %b %Y') %}
  {%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}
{%- endif %}
{%- if messages[0].role == 'system' %}{%- set said = messages[0].content | trim %}{%- set turns = messages[1:] %}
{%- else %}{%- set said = '' %}{%- set turns = messages %}{%- endif %}
{{- bos_token + '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + date_string + '\n\n' + said }}
{%- for tool in tools or [] %}{{- '\n\n' + (tool | tojson(indent=4)) }}{%- endfor %}
{{- '<|eot_id|>' }}
{%- for message in turns %}
  {%- if message.role == 'tool' %}
    {{- '<|start_header_id|>ipython<|end_header_id|>\n\n' + (message.content | tojson) + '<|eot_id|>' }}
  {%- elif message.tool_calls %}
    {%- if message.tool_calls | length != 1 %}{{- raise_exception('Only single tool-calls!') }}{%- endif %}
    {%- set call = message.tool_calls[0].function %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n{"name": "' + call.name + '", "parameters": ' }}
    {{- (call.arguments | tojson) + '}<|eot_id|>' }}
  {%- else %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}
"""
MISTRAL = """
{%- if messages[0].role == 'system' %}{%- set said = messages[0].content + '\n\n' %}{%- set turns = messages[1:] %}
{%- else %}{%- set said = '' %}{%- set turns = messages %}{%- endif %}
{%- set ns = namespace(index=0) %}
{%- for message in turns if message.role != 'tool' and not message.tool_calls %}
  {%- if (message.role == 'user') != (ns.index % 2 == 0) %}
    {{- raise_exception('After the optional system message, roles must alternate user/assistant/user/...') }}
  {%- endif %}
  {%- set ns.index = ns.index + 1 %}
{%- endfor %}
{{- bos_token }}
{%- for message in turns %}
  {%- if message.role == 'user' %}
    {%- if tools and loop.first %}{{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}{%- endif %}
    {{- '[INST] ' + (said if loop.first else '') + message.content + '[/INST]' }}
  {%- elif message.tool_calls %}
    {{- '[TOOL_CALLS] [' }}
    {%- for call in message.tool_calls %}
      {%- if call.id | length != 9 %}
        {{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
      {%- endif %}
      {{- '{"name": "' + call.function.name + '", "arguments": ' + (call.function.arguments | tojson) }}
      {{- ', "id": "' + call.id + '"}' }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
    {%- endfor %}
    {{- ']' + eos_token }}
  {%- elif message.role == 'assistant' %}{{- ' ' + message.content | trim + eos_token }}
  {%- elif message.role == 'tool' %}
    {%- if message.tool_call_id | length != 9 %}
      {{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}
    {%- endif %}
    {{- '[TOOL_RESULTS] {"content": ' + message.content + ', "call_id": "' + message.tool_call_id }}
    {{- '"}[/TOOL_RESULTS]' }}
  {%- endif %}
{%- endfor %}
"""
# The first Mistral: no system message at all.
MISTRAL_1 = """
{{- bos_token }}
{%- for message in messages %}
  {%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}
    {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
  {%- endif %}
  {%- if message.role == 'user' %}{{- '[INST] ' + message.content + ' [/INST]' }}
  {%- else %}{{- message.content + eos_token + ' ' }}{%- endif %}
{%- endfor %}
"""
# Arguments are joined to text; behind a tool's answer the turn goes on.
DEEPSEEK_V3 = """
{{- bos_token }}
{%- for message in messages if message.role == 'system' %}{{- message.content }}{%- endfor %}
{%- for tool in tools or [] %}{{- '\n' + (tool | tojson) }}{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'user' %}{{- '<｜User｜>' + message.content }}
  {%- elif message.role == 'tool' %}
    {{- '<｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
  {%- elif message.role == 'assistant' %}
    {{- '<｜Assistant｜>' + message.content.split('</think>')[-1] }}
    {%- for call in message.tool_calls or [] %}
      {{- '<｜tool▁call▁begin｜>function<｜tool▁sep｜>' + call.function.name + '\n```json\n' }}
      {{- call.function.arguments + '\n```<｜tool▁call▁end｜>' }}
    {%- endfor %}
    {{- eos_token }}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and messages[-1].role != 'tool' %}{{- '<｜Assistant｜>THINK' }}{%- endif %}
"""
_GEMMA_TURN = """
  {%- set role = 'model' if message.role == 'assistant' else message.role %}
  {{- '<start_of_turn>' + role + '\n' + (said if loop.first else '') + message.content | trim + '<end_of_turn>\n' }}
"""
_GEMMA_END = "{%- if add_generation_prompt %}{{- '<start_of_turn>model\n' }}{%- endif %}"
GEMMA_3 = _alternating(_GEMMA_TURN, _GEMMA_END)
GEMMA = (
    "{%- if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{%- endif %}"
    + GEMMA_3
)
_COMMAND = """
{{- bos_token }}
{%- if tools %}{{- (tools | tojson) }}{%- endif %}
{%- for message in messages %}
  {%- set role = {'system': 'SYSTEM', 'user': 'USER', 'assistant': 'CHATBOT', 'tool': 'SYSTEM'}[message.role] %}
  {{- '<|START_OF_TURN_TOKEN|><|' + role + '_TOKEN|>' }}
  {%- if message.tool_calls %}
    {{- 'Action: ```json\n' + (message.tool_calls | tojson(indent=4)) + '\n```' }}
  {%- else %}{{- message.content }}{%- endif %}
  {{- '<|END_OF_TURN_TOKEN|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{%- endif %}
"""
COMMAND_R = {"default": _COMMAND, "tool_use": _COMMAND, "rag": "{{ documents[0].title }}"}
PHI_3 = """
{%- for message in messages %}{{- '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>\n' }}{%- else %}{{- eos_token }}{%- endif %}
"""
PHI_4 = """
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '<|im_sep|>' + message.content + '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant<|im_sep|>' }}{%- endif %}
"""
GPT_OSS = """
{{- '<|start|>system<|message|>Current date: ' + strftime_now('%Y-%m-%d') + '<|end|>' }}
{%- for tool in tools or [] %}{{- '<|start|>developer<|message|>' + (tool | tojson) + '<|end|>' }}{%- endfor %}
{%- for message in messages %}
  {%- if message.tool_calls %}
    {%- for call in message.tool_calls %}
      {{- '<|start|>assistant to=functions.' + call.function.name + '<|channel|>commentary json<|message|>' }}
      {{- (call.function.arguments | tojson) + '<|call|>' }}
    {%- endfor %}
  {%- elif message.role == 'assistant' %}
    {%- if '<|channel|>' in message.content %}{{- raise_exception('a channel stands in the content') }}{%- endif %}
    {{- '<|start|>assistant<|channel|>final<|message|>' + message.content }}
    {{- '<|return|>' if loop.last and not add_generation_prompt else '<|end|>' }}
  {%- else %}{{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}
"""
# What ends a turn is the mark that begins the next.
GLM_4 = """
{{- '[gMASK]<sop>' }}
{%- for tool in tools or [] %}{{- '<|system|>\n' + (tool | tojson) }}{%- endfor %}
{%- for message in messages %}
  {{- '<|' + {'tool': 'observation'}[message.role] | default(message.role) + '|>\n' + message.content }}
  {%- for call in message.tool_calls or [] %}
    {{- '\n<tool_call>' + call.function.name + '\n' }}
    {%- for key, value in call.function.arguments | items %}
      {{- '<arg_key>' + key + '</arg_key>\n<arg_value>' + (value | string) + '</arg_value>\n' }}
    {%- endfor %}
    {{- '</tool_call>' }}
  {%- endfor %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}
"""
_OWN_CALLS = """
{%- for tool in tools or [] %}{{- '<|im_start|>system\n' + (tool | tojson) + '<|im_end|>\n' }}{%- endfor %}
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '\n' + message.content }}
  {%- for call in message.tool_calls or [] %}CALL{%- endfor %}
  {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
LFM_2 = _OWN_CALLS.replace(
    "CALL",
    "{{- '<|tool_call_start|>[' + call.function.name + '(' }}{%- for key, value in call.function.arguments | items %}"
    "{{- key + '=' + (value | tojson) + ', ' }}{%- endfor %}{{- ')]<|tool_call_end|>' }}",
)
SEED_OSS = _OWN_CALLS.replace(
    "CALL",
    "{{- '<seed:tool_call>\n<function=' + call.function.name + '>\n' }}"
    "{%- for key, value in call.function.arguments | items %}"
    "{{- '<parameter=' + key + '>' + (value | string) + '</parameter>\n' }}{%- endfor %}"
    "{{- '</function>\n</seed:tool_call>' }}",
)
GRANITE = """
{%- for message in messages %}
  {{- '<|start_of_role|>' + message.role + '<|end_of_role|>' + message.content + '<|end_of_text|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_of_role|>assistant<|end_of_role|>' }}{%- endif %}
"""
# Content is a list of parts.
IDEFICS = """
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '\n' }}
  {%- for part in message.content %}{%- if part.type == 'text' %}{{- part.text }}{%- endif %}{%- endfor %}
  {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""

ACCEPTED = ""
NO_TOOLS = "leaves out the tools: 'probe_tool' is not in the prompt"
NO_FORMAT = r"writes tool calls in no format that TurnMix reads .*"
NO_TEXT = r"leaves out the text 'I look\.' of a turn that calls a tool"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published manner, and what becomes of it."""

    name: str
    template: str | dict[str, str]
    native: str = NO_TOOLS
    """A pattern of why it is refused; ACCEPTED: it is not. So too below."""
    text: str = ACCEPTED
    eos: str = "<|im_end|>"
    metaspace: str | None = None
    """The scheme by which a tokenizer of pieces puts a space of its own, `legacy` as its normaliser does; None: a
    byte-level one."""


ROWS = (
    Row(name="ChatML", template=CHATML),
    Row(name="Qwen2.5", template=INSTRUCT, native=ACCEPTED),
    Row(name="Qwen3", template=HYBRID, native=ACCEPTED),
    Row(name="Qwen3-Coder", template=CODER, native=ACCEPTED),
    Row(name="Hermes-2", template=HERMES_2, native=NO_TEXT),
    Row(name="Hermes-3", template=HERMES_3, native=NO_TEXT),
    Row(
        name="Hermes, tool_use alone",
        template={"tool_use": HERMES_3["tool_use"]},
        native=NO_TEXT,
        text="fails on a user's message",
    ),
    Row(name="Llama-2", template=LLAMA_2, eos="</s>", metaspace="always"),
    Row(name="Llama-2, legacy", template=LLAMA_2, eos="</s>", metaspace="legacy"),
    Row(name="Zephyr, legacy", template=ZEPHYR, eos="</s>", metaspace="legacy"),
    Row(
        name="Mistral, legacy",
        template=MISTRAL,
        native=NO_FORMAT + r"\[TOOL_CALLS\]",
        eos="</s>",
        metaspace="legacy",
    ),
    Row(name="Zephyr", template=ZEPHYR, eos="</s>", metaspace="first"),
    Row(name="TinyLlama", template=ZEPHYR, eos="</s>", metaspace="always"),
    Row(name="Vicuna", template=VICUNA.replace("PROMPTED", ""), eos="</s>", metaspace="always"),
    Row(
        name="Vicuna, prompted with a space",
        template=VICUNA.replace("PROMPTED", " "),
        text="writes a turn's beginning 'I look.*' otherwise behind the prompt's end",
        eos="</s>",
        metaspace="first",
    ),
    Row(name="Alpaca", template=ALPACA, text="ends a turn with no special token", eos="</s>"),
    Row(name="Llama-3", template=LLAMA_3, eos="<|eot_id|>"),
    Row(
        name="Llama-3.1",
        template=LLAMA_3_1,
        native="fails on two calls in one turn: Only single tool-calls",
        eos="<|eot_id|>",
    ),
    Row(
        name="Mistral",
        template=MISTRAL,
        native=NO_FORMAT + r"\[TOOL_CALLS\]",
        eos="</s>",
        metaspace="always",
    ),
    Row(name="Mistral, byte-level", template=MISTRAL, native=NO_FORMAT + r"\[TOOL_CALLS\]", eos="</s>"),
    Row(name="Mistral, the first", template=MISTRAL_1, eos="</s>", metaspace="first"),
    Row(
        name="DeepSeek-V3",
        template=DEEPSEEK_V3.replace("THINK", ""),
        native=NO_FORMAT + "<｜tool▁call▁begin｜>",
        eos="<｜end▁of▁sentence｜>",
    ),
    Row(
        name="DeepSeek-R1",
        template=DEEPSEEK_V3.replace("THINK", "<think>\n"),
        native=NO_FORMAT + "<｜tool▁call▁begin｜>",
        text="renders a turn otherwise than its generation prompt .*<think>.* begins it",
        eos="<｜end▁of▁sentence｜>",
    ),
    Row(name="Gemma", template=GEMMA, eos="<end_of_turn>"),
    Row(name="Gemma-3", template=GEMMA_3, eos="<end_of_turn>"),
    Row(
        name="Command-R",
        template=COMMAND_R,
        native=NO_FORMAT + "Action: ```json",
        eos="<|END_OF_TURN_TOKEN|>",
    ),
    Row(name="Phi-3", template=PHI_3, eos="<|endoftext|>"),
    Row(name="Phi-3, one end for all", template=PHI_3, eos="<|end|>"),
    Row(name="Phi-4", template=PHI_4),
    Row(
        name="gpt-oss",
        template=GPT_OSS,
        native=NO_FORMAT + "to=functions.probe_tool",
        text=r"puts more than space around a turn's text: '<\|channel\|>final<\|message\|>…'",
        eos="<|return|>",
    ),
    Row(
        name="GLM-4",
        template=GLM_4,
        native="ends a turn with no special token: behind its text the template writes ''",
        text="ends a turn with no special token: behind its text the template writes ''",
        eos="<|user|>",
    ),
    Row(name="LFM2", template=LFM_2, native=NO_FORMAT + r"<\|tool_call_start\|>\[probe_tool\(path="),
    Row(name="Seed-OSS", template=SEED_OSS, native=NO_FORMAT + "<seed:tool_call>"),
    Row(name="Granite", template=GRANITE, eos="<|end_of_text|>"),
    Row(
        name="Idefics",
        template=IDEFICS,
        native="leaves out the text 'You repair programs.' of role system",
        text="leaves out the text 'You repair programs.' of role system",
    ),
)

_MARK = re.compile(
    r"<\|[^|<>\s'\"{}+]+\|>|<｜[^｜<>]+｜>|\[/?[A-Z_]{3,}\]|<(?:start|end)_of_turn>|</?(?:tool_call|think|tool_response)>"
)
_PLAIN = re.compile(r"</?(?:tool_call|think|tool_response)>|<\|(?:user|assistant|system)\|>")
_CORPUS = [
    "def add(first, second): return first + second\n",
    '{"name": "edit"}',
    "I look at the file. Done.",
] * 20


@functools.lru_cache
def _raw_tokenizer(metaspace: str | None) -> str:
    tokenizer = Tokenizer(models.BPE(byte_fallback=metaspace is not None, unk_token="<unk>"))
    letters = [*map(chr, range(33, 127)), "▁"] if metaspace else pre_tokenizers.ByteLevel.alphabet()
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)] if metaspace else []
    trainer = trainers.BpeTrainer(
        vocab_size=len(letters) + len(bytes_) + 120,
        initial_alphabet=letters,
        special_tokens=["<unk>", *bytes_],
        show_progress=False,
    )
    if metaspace is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator(_CORPUS, trainer)
        return tokenizer.to_str()
    scheme = "always" if metaspace == "legacy" else metaspace
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    if metaspace == "legacy":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer.to_str()


def tokenizer_of(row: Row) -> PreTrainedTokenizerFast:
    """A small tokenizer of the row's kind, whose added tokens are the marks that its template writes."""
    tokenizer = Tokenizer.from_str(_raw_tokenizer(row.metaspace))
    written = row.template if isinstance(row.template, str) else "".join(row.template.values())
    # Llama 2 and its kin have no token for the marks of their templates.
    marks = [] if row.metaspace and "TOOL_CALLS" not in written else _MARK.findall(written)
    special = [mark for mark in dict.fromkeys([*marks, row.eos, "<s>"]) if not _PLAIN.fullmatch(mark)]
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in special])
    plain = [mark for mark in dict.fromkeys(marks) if _PLAIN.fullmatch(mark)]
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in plain])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=row.eos, bos_token="<s>", name_or_path=row.name
    )
    fast.chat_template = row.template
    return fast
