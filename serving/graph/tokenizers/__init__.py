"""Tokenizers inside the TensorFlow graph, equal id for id to the Hugging Face fast tokenizers they come from.

Only core TensorFlow ops and those of tensorflow-text 2.20 are used, because TensorFlow Serving's stock binary links
nothing else.

build                puts a fast tokenizer into the graph: it chooses the parts by its `tokenizer.json`
in_graph             the whole tokenizer: text -> token ids -> text
added_tokens         text -> pieces, cut at tokens such as `<mask>`, with `whole_words` where letters beside one matter
normalization        pieces -> normal text
byte_level_bpe       pieces -> token ids (RoBERTa), with `byte_level_words` or, as in Llama 3, `split_words` before it
character_bpe        pieces -> token ids (Gemma)
merges               what both do to the parts of words
wordpiece            pieces -> token ids (BERT), with `bert_words` before it
unigram              pieces -> token ids (SentencePiece), with `metaspace_words` before it
decoder              token ids -> text
probes               compares a tokenizer in the graph with the fast tokenizer that it was made from
refusal              the error of a tokenizer that can't be put into the graph exactly
code_points          strings -> Unicode code points and back
literals             text in RE2's patterns
segments, tables     what several parts use: elements by segment, lookup tables
"""
