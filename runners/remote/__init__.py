"""A pipeline root in a bucket: a local root that stands in for it here, and what goes to and fro."""
