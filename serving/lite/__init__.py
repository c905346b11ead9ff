"""A file for TensorFlow Lite, for those who write it, measure it and serve it: its signatures, and what runs it."""
