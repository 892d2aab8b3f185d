"""Measurements, run by hand; README.md says how to read them."""
