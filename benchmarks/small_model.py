"""The small model of several benchmarks: about as large as the quickstart's, of an architecture that all peers have."""

ROFORMER = {
    "embedding_size": 128,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
}
"""Values of `RoFormerConfig`."""
