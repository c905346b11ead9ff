"""The exported model's side: signatures, tokenizers in the graph, an embedded server, a client."""
