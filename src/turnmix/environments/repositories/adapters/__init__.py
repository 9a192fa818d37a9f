"""Published task sets as rows of a task file: one file a family, and a table of their hub ids."""
