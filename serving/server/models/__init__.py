"""Models on the disk and in memory: which versions are there, which are served, and how they are run."""
