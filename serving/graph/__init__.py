"""What is exported: signatures, tokenizers in the graph, warm-up requests, a description."""
