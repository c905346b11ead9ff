"""The pipeline's steps, one a file, with what they share in rooms beside them."""
