"""Writes the pipeline for Kubeflow Pipelines, and runs one step in a container."""
