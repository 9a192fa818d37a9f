"""What runs inside a sandbox: standard library only, sent there as compiled code, trusted by nobody
outside."""
