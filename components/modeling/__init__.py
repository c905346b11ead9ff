"""The Keras side: checkpoints, the masked-position head, masking, training. Imports TensorFlow."""
