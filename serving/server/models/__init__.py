"""Models on the disk and in memory: which versions there are, and which are served."""
