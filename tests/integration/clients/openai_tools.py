"""The two tools, as chat completions name them."""

from workspace import DESCRIPTIONS, SCHEMAS

TOOLS = [
    {"type": "function", "function": {"name": name, "description": DESCRIPTIONS[name], "parameters": schema}}
    for name, schema in SCHEMAS.items()
]
