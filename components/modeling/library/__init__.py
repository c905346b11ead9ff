"""Changes to instances of transformers' own classes, and nothing else."""
