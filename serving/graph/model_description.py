"""MODEL.md of an exported model: what it answers, and command lines to ask it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from foundation.text_answers import no_mask_within, truncated_to

URL = "http://127.0.0.1:8501/v1/models/fill_mask:predict"

_START = """\
# A fill-mask model for TensorFlow Serving

This directory is one version of a model. Copy it to `<base path>/fill_mask/<number>/` and start

```
tensorflow_model_server --rest_api_port=8501 --model_name=fill_mask --model_base_path=<base path>/fill_mask
```

with `--enable_batching --batching_parameters_file=<base path>/fill_mask/<number>/batching_params.pbtxt` where many
clients ask at once. A server that batches leaves a request of no rows waiting, with the thread that took it, until
another comes: never send one, and don't batch where clients that you don't know may.

`fill_mask` is the model's name in that line and in all URLs here. A model that is served under another name, as that of
the directory that holds its versions, answers under that name alone: put it there.
"""

_TEXT = """\
## Asking with text

Put `{mask_token}` where a word is to be filled in, once or more. A text may have {max_sequence_length} tokens.

`serving_default` gives the best {top_k} candidates for every mask:

```
{curl_text}
```

`fill_mask` takes more: `top_k`, from 1 to {max_top_k}, and `targets`, the words to choose from, one a line
(`"targets": "spiral\\n round"`; empty for the whole vocabulary). A target that is no token of the vocabulary counts
as its first token.

```
{curl_fill_mask}
```

Each text is answered with

| name         | shape              | type   | what                                                              |
|--------------|--------------------|--------|-------------------------------------------------------------------|
| `score`      | masks × candidates | float  | probability, best first                                           |
| `token`      | masks × candidates | int    | token id                                                          |
| `token_str`  | masks × candidates | string | the token's text                                                  |
| `sequence`   | masks × candidates | string | the text with the candidate in the mask's place; other masks stay |
| `status`     |                    | string | `ok`, or why there is no answer                                   |
| `num_masks`  |                    | int    | how many of `masks` are this text's                               |
| `num_tokens` |                    | int    | the whole text's length in tokens, special tokens included        |

The texts of a batch share one shape, so there may be more masks and candidates than a text has. The places left over
have token -1, score 0 and empty strings. {what_is_too_long} `status` says

| status | the text |
|---|---|
| `ok` | is answered |
{statuses}
| `invalid_top_k` | came with a `top_k` below 1 or above {max_top_k} |
| `no_target` | came with `targets` none of which has a token |

A text without an answer doesn't disturb the texts beside it. Bytes that aren't valid UTF-8 count as U+FFFD. A single
word of thousands of characters may be `too_many_tokens` by its length alone; `num_tokens` is an estimate then.
"""

_WHOLE = "Nothing is truncated."
_WHOLE_STATUSES = """\
| `no_mask` | has no `{mask_token}` in it |
| `too_many_tokens` | is longer than {max_sequence_length} tokens: see `num_tokens` |"""

_CUT = """\
A text with more tokens than that is cut to {max_sequence_length} of them, special tokens included, as the tokenizer's
own `truncation=True` does; `num_tokens` says how many it had."""
_CUT_STATUSES = """\
| `{truncated}` | is answered after it was cut; masks further on have no answer |
| `no_mask` | has no `{mask_token}` in it |
| `{no_mask_within}` | has all its masks in what was cut off |
| `too_many_tokens` | is too long, with a word in it that is too long to be tokenized |"""

_NO_TEXT = """\
## No text

This model's tokenizer can't be put into the graph exactly ({reason}). Tokenize at the client, with the tokenizer in
`assets.extra/tokenizer`, and ask with token ids.
"""

_TOKENS = """\
## Asking with token ids

`tokens` takes `input_ids` and `attention_mask` (1 at tokens, 0 at padding), int, (batch, sequence), and gives the
`position` of every mask (batch, masks), and `token` and `score` of its best {top_k} candidates (batch, masks,
{top_k}), best first. Places left over have position and token -1 and score 0.

```
{curl_tokens}
```

`logits` takes the same and gives `logits` (batch, sequence, vocabulary) float. That's large: ask it over gRPC.

The sequences of a request have one length: pad the others, with attention mask 0. A server that batches
refuses requests of unlike lengths that come together.
"""


def write(facts: Mapping[str, Any], token_ids: Sequence[int]) -> str:
    """The text of MODEL.md.

    Args:
        facts: Of the export, as `components.export` reports them.
        token_ids: The example's, special tokens included.
    """
    text = facts["example"]["text"]
    tokens = {"input_ids": list(token_ids), "attention_mask": [1] * len(token_ids)}
    fields = {
        "mask_token": facts["mask_token"],
        "max_sequence_length": facts["max_sequence_length"],
        "top_k": facts["top_k"],
        "max_top_k": facts["max_top_k"],
        "reason": facts["why_no_text_signatures"],
        "curl_text": curl({"instances": [text]}),
        "curl_fill_mask": curl(
            {"signature_name": "fill_mask", "instances": [{"text": text, "top_k": 3, "targets": ""}]}
        ),
        "curl_tokens": curl({"signature_name": "tokens", "instances": [tokens]}),
    }
    cuts = facts["truncation"]
    fields["truncated"] = truncated_to(facts["max_sequence_length"])
    fields["no_mask_within"] = no_mask_within(facts["max_sequence_length"])
    fields["what_is_too_long"] = (_CUT if cuts else _WHOLE).format(**fields)
    fields["statuses"] = (_CUT_STATUSES if cuts else _WHOLE_STATUSES).format(**fields)
    asking = _TEXT if facts["text_signatures"] else _NO_TEXT
    return "\n".join(part.format(**fields) for part in (_START, asking, _TOKENS))


def curl(body: Mapping[str, Any]) -> str:
    """A command line that posts JSON to the model."""
    return f"curl -s {URL} -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
