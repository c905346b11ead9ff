"""What differs from architecture to architecture."""
