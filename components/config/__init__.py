"""The configuration of a whole pipeline, and the layers that it is made from."""
