"""Runs the steps of a pipeline somewhere: no other code knows where that is."""
