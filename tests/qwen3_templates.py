"""Chat templates that behave as those of the paper's models do, each written anew and as short as that allows.

    INSTRUCT   Qwen3-4B-Instruct-2507: Hermes JSON, no thinking
    HYBRID     Qwen3-8B: Hermes JSON; thinking before the last user query is stripped; the last turn, and with
               thinking off the generation prompt too, begin with an empty think block that history lacks
    CODER      Qwen3-Coder-30B-A3B-Instruct: XML calls with arguments as text; `enum` left out of tools

All merge tool answers in a row into one user turn.
"""

_TOOLS_AS_JSON = """
{%- set said = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}
  {{- '<|im_start|>system\n' + said + '\n\nTools:' }}
  {%- for tool in tools %}{{- '\n' + (tool | tojson) }}{%- endfor %}
  {{- '\nCall: <tool_call>\n{"name": NAME, "arguments": OBJECT}\n</tool_call><|im_end|>\n' }}
{%- elif said %}
  {{- '<|im_start|>system\n' + said + '<|im_end|>\n' }}
{%- endif %}
"""

_ANSWER = """
  {%- elif message.role == 'tool' %}
    {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
    {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
    {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
"""

_CALLS_AS_JSON = """
    {%- for call in message.tool_calls or [] %}
      {%- if not loop.first or content %}{{- '\n' }}{%- endif %}
      {%- set given = call.function.arguments %}
      {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
      {{- (given if given is string else given | tojson) + '}\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
"""

INSTRUCT = (
    _TOOLS_AS_JSON
    + """
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {%- set content = message.content %}
    {{- '<|im_start|>assistant\n' + content }}
"""
    + _CALLS_AS_JSON
    + _ANSWER
    + """
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
)

HYBRID = (
    _TOOLS_AS_JSON
    + """
{%- set last = namespace(query=0) %}
{%- for message in messages %}
  {%- if message.role == 'user' %}{%- set last.query = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\n') %}
    {%- set thought = '' %}
    {%- if '</think>' in message.content %}
      {%- set thought = message.content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
    {%- endif %}
    {{- '<|im_start|>assistant\n' }}
    {%- if loop.index0 > last.query and (loop.last or thought) %}
      {{- '<think>\n' + thought + '\n</think>\n\n' }}
    {%- endif %}
    {{- content }}
"""
    + _CALLS_AS_JSON
    + _ANSWER
    + """
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|im_start|>assistant\n' }}
  {%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}
"""
)

CODER = """
{%- if messages[0].role == 'system' %}{{- '<|im_start|>system\n' + messages[0].content }}{%- endif %}
{%- for tool in tools or [] %}
  {{- '\n<function>\n<name>' + tool.function.name + '</name>\n' + tool.function.description }}
  {%- for name, schema in tool.function.parameters.properties | items %}
    {{- '\n<parameter>\n<name>' + name + '</name>\n<type>' + (schema.type | string) + '</type>' }}
    {%- for key, value in schema | items if key not in ['type', 'enum'] %}
      {{- '\n<' + key + '>' + (value if value is string else value | tojson) + '</' + key + '>' }}
    {%- endfor %}
    {{- '\n</parameter>' }}
  {%- endfor %}
  {{- '\n</function>' }}
{%- endfor %}
{%- if messages[0].role == 'system' %}{{- '<|im_end|>\n' }}{%- endif %}
{%- for message in messages %}
  {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' and not message.tool_calls %}
    {{- '<|im_start|>assistant\n' + message.content + '<|im_end|>\n' }}
  {%- elif message.role == 'assistant' %}
    {{- '<|im_start|>assistant' }}
    {%- if message.content | trim %}{{- '\n' + (message.content | trim) + '\n' }}{%- endif %}
    {%- for call in message.tool_calls %}
      {{- '\n<tool_call>\n<function=' + call.function.name + '>\n' }}
      {%- for key, value in call.function.arguments | items %}
        {%- set is_json = value is mapping or (value is sequence and value is not string) %}
        {{- '<parameter=' + key + '>\n' + (value | tojson if is_json else value | string) }}
        {{- '\n</parameter>\n' }}
      {%- endfor %}
      {{- '</function>\n</tool_call>' }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
  {%- elif message.role == 'tool' %}
    {%- if loop.first or loop.previtem.role != 'tool' %}{{- '<|im_start|>user\n' }}{%- endif %}
    {{- '<tool_response>\n' + message.content + '\n</tool_response>\n' }}
    {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
  {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""

TEMPLATES = {"instruct": INSTRUCT, "hybrid": HYBRID, "coder": CODER}
