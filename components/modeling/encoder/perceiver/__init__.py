"""The Perceiver: bytes of text are read into a few latent states, which layers refine and the asked positions read."""
