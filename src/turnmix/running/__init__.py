"""`train` and `evaluate`: a recipe in, a run on the disk out; below the command line."""
