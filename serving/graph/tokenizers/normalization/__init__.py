"""The normalizers of the fast tokenizers in the graph: text to normal text, as each tokenizer has it."""
