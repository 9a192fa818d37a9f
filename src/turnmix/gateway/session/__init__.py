"""What happens in one session: which line of turns a request goes on with, and what is recorded of it."""
