"""An embedded server that follows TensorFlow Serving's REST and gRPC protocols."""
