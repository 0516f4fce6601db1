"""Ferrule beside its peers: `python -m benchmarks`. Runs on the standard library alone."""
