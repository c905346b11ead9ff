"""The server's gRPC interface."""
