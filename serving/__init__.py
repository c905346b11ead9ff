"""The exported model's side: signatures, tokenizers in the graph, an embedded server, a client."""

import components  # noqa: F401  (chooses the Keras version before TensorFlow is imported)
