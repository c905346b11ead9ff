"""Our own Keras encoder: one class for the architectures whose record has a design."""
