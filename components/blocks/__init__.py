"""From a corpus' records to blocks of token ids: the text column, the tokenizer's work, packing, writing."""
