"""The agent's tools, their formats, and its prompts."""
