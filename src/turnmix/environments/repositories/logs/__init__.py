"""What the log of a test run says, by the parser that the row names."""
