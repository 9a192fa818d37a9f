"""The command line. Light: nothing here imports tensor code before a command needs it."""

from turnmix.cli.command_line import main

__all__ = ["main"]
