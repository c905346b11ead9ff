"""Runs parts of steps with Ray, on this machine or a cluster."""
