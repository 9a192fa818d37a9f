"""Who acts: scripted, oracle (privileged), local (transformers) and endpoint (OpenAI-compatible) policies."""
