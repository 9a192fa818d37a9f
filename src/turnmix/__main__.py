"""`python -m turnmix`, and what `torchrun -m turnmix` and `accelerate launch -m turnmix` start."""

from turnmix.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
