"""pynetdicom's classes, subclassed: how a connection is accepted, served and bounded.

The only place that may touch a private name of a library. Knows neither Django nor the worklist.
"""
