"""Batching across requests: those that wait for a thread go through the graph together."""
