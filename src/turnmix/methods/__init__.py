"""What is taught: one short file a method."""
