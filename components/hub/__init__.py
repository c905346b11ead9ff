"""The Hugging Face Hub: reading from it, writing to it."""
