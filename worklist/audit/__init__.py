"""The signature under every write: who, from where, what. Knows nothing of the worklist."""
