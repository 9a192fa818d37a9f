"""A template with calls as `[name] {json} [/]` and thinking in marks of its own, and how to read it."""

BRACKETS = """
{%- for tool in tools or [] %}{{- (tool | tojson) + '\n' }}{%- endfor %}
{%- for message in messages %}
  {{- '<|im_start|>' + message.role + '\n' }}
  {%- if message.musing %}{{- '((' + message.musing + '))\n' }}{%- endif %}
  {%- if message.reasoning %}{{- '((' + message.reasoning + '))\n' }}{%- endif %}
  {{- message.content }}
  {%- for call in message.tool_calls or [] %}
    {{- '\n[' + call.function.name + ']\n' + (call.function.arguments | tojson) + '\n[/]' }}
  {%- endfor %}
  {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
READ_BRACKETS = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|im_start|>assistant\n",
    "fields": {
        "reasoning": {"open": "((", "close": "))\n", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*\[(?P<name>\w+)\]",
            "close": "[/]",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
        },
        "content": {"content": "text"},
    },
}
