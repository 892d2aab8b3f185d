"""How fast the clerk's pages answer: `python -m benchmarks.web`."""
