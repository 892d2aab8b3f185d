"""Peers that misbehave, by chance or by will: what they get, and what is left of them."""
