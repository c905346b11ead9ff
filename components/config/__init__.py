"""The configuration of a whole pipeline, and the layers that it is put together from."""
