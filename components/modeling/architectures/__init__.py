"""What differs from architecture to architecture: a record each, and nothing about any of them elsewhere."""
