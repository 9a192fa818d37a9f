"""The recipe: from files and words to validated settings, and what a person is told of them."""
