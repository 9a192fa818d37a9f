"""From messages to one model's own tokens and back: tool-call formats and the renderer."""
