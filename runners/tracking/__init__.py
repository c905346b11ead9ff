"""What is told of a run while it goes on: to TensorBoard, and to MLflow and Weights & Biases where a user asks for it.

It belongs to the runner. No step knows of it, and no step's output depends on it.
"""
