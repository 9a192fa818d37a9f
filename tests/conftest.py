"""Puts this folder on the import path, so that tests of every folder can share `chat_models`."""
