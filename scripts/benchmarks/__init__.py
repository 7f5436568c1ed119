"""One benchmark a file; `scripts/benchmark.py` is their command."""
