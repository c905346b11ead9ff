"""MODEL.md of an exported model: what it answers, and command lines to ask it."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from foundation.text_answers import no_mask_within, truncated_to
from foundation.versions import TOKENIZER

URL = "http://127.0.0.1:8501/v1/models/fill_mask:predict"

_START = """\
# A fill-mask model for TensorFlow Serving

{precision}This directory is one version of a model. Copy it to `<base path>/fill_mask/<number>/` and start

```
tensorflow_model_server --rest_api_port=8501 --model_name=fill_mask --model_base_path=<base path>/fill_mask
```

{batching}

`fill_mask` is the model's name in that line and in all URLs here. A model that is served under another name, as that of
the directory that holds its versions, answers under that name alone: put it there.
"""

_PRECISION = """\
Its matrices are {precision}, and its products are computed so: it answers quickly on processors with instructions for
that, such as AMX, and slowly on others. Scores differ from those of the float32 checkpoint in their third digit. Leave
out `--mixed_precision`, with which a server casts every variable at every request.

"""

_BATCHED_BY_THE_SERVER = """\
with `--enable_batching --batching_parameters_file=<base path>/fill_mask/<number>/batching_params.pbtxt` where many
clients ask at once. A server that batches leaves a request of no rows waiting, with the thread that took it, until
another comes: never send one, and don't batch where clients that you don't know may."""

_BATCHED_IN_THE_GRAPH = """\
without `--enable_batching`: the graph itself joins the requests of many clients, of whatever lengths. A request whose
deadline passes can fail those that share its batch: give all clients the same timeout."""

_TEXT = """\
## Asking with text

Put `{mask_token}` where a word is to be filled in, once or more. A text may have {max_sequence_length} tokens.

`serving_default` gives the best {top_k} candidates for every mask:

```
{curl_text}
```

`fill_mask` takes more: `top_k`, from 1 to {max_top_k}, and `targets`, the words to choose from, one a line
(`"targets": "spiral\\n round"`; empty for the whole vocabulary). A target that is no token of the vocabulary counts
as its first token, and `target_notes` says so of each.

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

The sequences of a request have one length: pad the others, with attention mask 0.{unlike}
"""

_LITE = """\
## In eight-bit integers, on a CPU

`model.tflite` is this model for TensorFlow Lite, its weights as eight-bit integers{accuracy}. TensorFlow Serving
answers with it, in place of the SavedModel, when it is started with `--prefer_tflite_model` besides. It takes token ids
alone, since TensorFlow Lite has no operations for a tokenizer: ask `tokens` as above, or the client below with
`--tokenizer=<base path>/fill_mask/<number>/assets.extra/tokenizer`. Never give `--enable_batching` or
`--num_tflite_interpreters_per_pool` with it: both join requests of unlike lengths, which then fail.
"""

_LANGUAGES = """\
## In another language

`tokens_in_language` is `tokens` with `language_ids`, int, (batch), or a single one for all rows: the language that each
row is answered in, by its number. The other signatures answer in the one that the model was trained for. There are
{languages}.
"""

_CLIENT = """\
## Asking with the client of masked-lm-pipeline

Where that program is installed, this asks the same, and answers as transformers' fill-mask pipeline does:

```
python -m serving.client {client_arguments}
```

and in Python

```python
from serving.client import FillMaskClient

with FillMaskClient({client_options}) as client:
    print(client.fill_mask({text!r}))
```

Another server is named by `--url`, such as `http://HOST:PORT` or, for gRPC, `grpc://HOST:PORT` (TensorFlow Serving's
port is 8500); `https://` and `grpcs://` are encrypted, and `--ca-file` names the certificates to trust a server by.
"""
_UNLIKE = """ A server that batches
refuses requests of unlike lengths that come together."""


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
    precision = facts.get("precision", "float32")
    fields["precision"] = "" if precision == "float32" else _PRECISION.format(precision=precision)
    in_graph = facts["in_graph_batching"]
    fields["batching"] = _BATCHED_IN_THE_GRAPH if in_graph else _BATCHED_BY_THE_SERVER
    fields["unlike"] = "" if in_graph else _UNLIKE
    cuts = facts["truncation"]
    fields["truncated"] = truncated_to(facts["max_sequence_length"])
    fields["no_mask_within"] = no_mask_within(facts["max_sequence_length"])
    fields["what_is_too_long"] = (_CUT if cuts else _WHOLE).format(**fields)
    fields["statuses"] = (_CUT_STATUSES if cuts else _WHOLE_STATUSES).format(**fields)
    asking = _TEXT if facts["text_signatures"] else _NO_TEXT
    fields |= {"text": text, **_client(text, facts["text_signatures"])}
    measured = [each for each in facts.get("accuracy", ()) if each["form"] == "int8"]
    increases = [each["loss"] - each["float32_loss"] for each in measured]
    fields["accuracy"] = "".join(f" (int8: {each:+.4f} nats a masked token beside float32)" for each in increases)
    languages = facts.get("languages", ())  # a report leaves out what is as usual
    fields["languages"] = ", ".join(f"{number} ({name})" for number, name in enumerate(languages))
    lite = [_LITE] if facts.get("quantize") else []
    parts = (_START, asking, _TOKENS, *lite, *([_LANGUAGES] if languages else []), _CLIENT)
    return "\n".join(part.format(**fields) for part in parts)


def _client(text: str, takes_text: bool) -> dict[str, str]:
    """How the client is started for a text, and constructed; without text it needs the tokenizer's directory."""
    tokenizer = [] if takes_text else [f"<base path>/fill_mask/<number>/{TOKENIZER}"]
    server = URL.partition("/v1/")[0]
    arguments = [
        *(f"--tokenizer={shlex.quote(each)}" for each in tokenizer),
        "--model",
        "fill_mask",
        "--",
        shlex.quote(text),
    ]
    options = [f'"{server}"', '"fill_mask"', *(f'tokenizer="{each}"' for each in tokenizer)]
    return {"client_arguments": " ".join(arguments), "client_options": ", ".join(options)}


def curl(body: Mapping[str, Any]) -> str:
    """A command line that posts JSON to the model."""
    return f"curl -s {URL} -d {shlex.quote(json.dumps(body, ensure_ascii=False))}"
