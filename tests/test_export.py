"""The exported directory: what a server loads, replays and answers."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.contract import manifest
from components.contract.artifacts import Checkpoint, ServingModel, Tokenizer
from components.export import Export
from components.exporting.params import ExportParams
from foundation.errors import ConfigError
from runners.command_line.next_commands import client_arguments
from serving.client.__main__ import make_parser
from serving.client.client_tokenizer import ClientTokenizer
from tests import reports as complete
from tests.left_out_protos import batching_parameters
from tests.table_reads import ROWS, WHOLE, reads_of_saved


def finished(kind, path):
    manifest.write(
        path, {"type": kind.__name__, "component": "test", "version": "1", "key": "0", "params": {}, "inputs": {}}
    )
    return kind(path)


def train_tokenizer(not_in_graph=False):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = ["The Milky Way is a spiral galaxy, and the sky is blue.", "Why is it so?"] * 3
    if not_in_graph:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    else:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=40,
    )


def export(directory, tokenizer, params):
    from transformers import RobertaConfig, TFRobertaForMaskedLM

    config = RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=34,
        initializer_range=0.5,
    )
    tf.keras.utils.set_random_seed(0)
    model = TFRobertaForMaskedLM(config)
    model.build_in_name_scope()
    model.save_pretrained(directory / "checkpoint" / "model")
    tokenizer.save_pretrained(directory / "checkpoint" / "model")
    tokenizer.save_pretrained(directory / "tokenizer" / "tokenizer")
    step = Export(finished(Checkpoint, directory / "checkpoint"), finished(Tokenizer, directory / "tokenizer"), params)
    out = directory / "out"
    out.mkdir()
    step.run(out)
    return finished(ServingModel, out)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(
        tmp_path_factory.mktemp("export"), train_tokenizer(), ExportParams(4, 10, "The Milky Way is a <mask> galaxy.")
    )


@pytest.fixture(scope="module")
def signatures(exported):
    loaded = tf.saved_model.load(str(exported.saved_model_directory))
    # A signature lives as long as the object it was loaded with.
    return {"loaded": loaded, **loaded.signatures}


def test_report(exported):
    report = exported.read_json("report.json")
    assert exported.summary == "answers text and token ids"
    assert set(report["signatures"]) == {"serving_default", "fill_mask", "tokens", "logits"}
    assert report["signatures"]["serving_default"]["inputs"] == {"text": {"dtype": "string", "shape": [None]}}
    assert report["signatures"]["logits"]["outputs"]["logits"]["dtype"] == "float32"
    # 34 positions, of which RoBERTa can't use the first two.
    assert report["max_sequence_length"] == 32
    assert report["example"]["text"] == "The Milky Way is a <mask> galaxy."
    assert len(report["example"]["answer"]) == 4


def test_nothing_is_saved_twice(signatures):
    """A module's functions, saved beside its signatures, would double the graph and the time that export takes."""
    assert not {"serving_default", "fill_mask", "tokens", "logits"} & set(dir(signatures["loaded"]))


def test_example_answer_is_what_the_signature_gives(exported, signatures):
    example = exported.read_json("report.json")["example"]
    outputs = signatures["serving_default"](text=tf.constant([example["text"]]))
    assert outputs["token"][0, 0].numpy().tolist() == [candidate["token"] for candidate in example["answer"]]
    assert [text.decode() for text in outputs["token_str"][0, 0].numpy()] == [
        candidate["token_str"] for candidate in example["answer"]
    ]


def test_files_of_a_version_directory(exported):
    directory = exported.saved_model_directory
    for name in (
        "saved_model.pb",
        "variables/variables.index",
        "batching_params.pbtxt",
        "MODEL.md",
        "assets.extra/tf_serving_warmup_requests",
        "assets.extra/tokenizer/tokenizer.json",
    ):
        assert (directory / name).stat().st_size > 0


def test_graph_holds_only_what_the_stock_server_has(exported):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((exported.saved_model_directory / "saved_model.pb").read_bytes())
    [graph] = saved.meta_graphs
    functions = graph.graph_def.library.function
    operations = {node.op for function in functions for node in function.node_def}
    assert not operations & {"PyFunc", "EagerPyFunc", "PyFuncStateless"}
    assert not any(function.attr["_XlaMustCompile"].b for function in functions)
    assert not any(node.attr["_XlaMustCompile"].b for function in functions for node in function.node_def)


def test_the_vocabulary_is_read_once_and_so_never_copied(exported):
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((exported.saved_model_directory / "saved_model.pb").read_bytes())
    reads = reads_of_saved(saved.meta_graphs[0])
    assert [table for table, kinds in reads.items() if kinds == {ROWS, WHOLE}] == []
    [words] = [table for table in reads if "word_embeddings" in table]
    assert reads[words] == {WHOLE}


def test_warmup_requests_cover_every_signature_and_batch_size(exported, signatures):
    from tensorflow_serving.apis import prediction_log_pb2

    path = exported.saved_model_directory / "assets.extra" / "tf_serving_warmup_requests"
    seen = set()
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.constant(tf.make_ndarray(tensor)) for name, tensor in request.inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        rows = {tensor.shape[0] for tensor in [*inputs.values(), *outputs.values()]}
        seen.add((request.model_spec.signature_name, *rows))
    assert seen == {(name, rows) for name in ("serving_default", "fill_mask", "tokens", "logits") for rows in (1, 64)}


def test_batching_parameters_are_of_the_servers_format(exported):
    from google.protobuf import text_format

    from serving.graph.saved_model_extras import LARGEST_BATCH

    text = (exported.saved_model_directory / "batching_params.pbtxt").read_text("utf-8")
    parameters = text_format.Parse(text, batching_parameters())
    assert parameters.max_batch_size.value == LARGEST_BATCH
    assert not parameters.pad_variable_length_inputs
    assert not parameters.enable_large_batch_splitting.value


def test_command_lines_of_the_description_work(exported, signatures):
    text = (exported.saved_model_directory / "MODEL.md").read_text("utf-8")
    bodies = [json.loads(shlex.split(line)[-1]) for line in re.findall(r"^curl .*$", text, re.MULTILINE)]
    assert [body.get("signature_name", "serving_default") for body in bodies] == [
        "serving_default",
        "fill_mask",
        "tokens",
    ]
    for body in bodies:
        name = body.get("signature_name", "serving_default")
        specs = signatures[name].structured_input_signature[1]
        rows = [row if isinstance(row, dict) else {next(iter(specs)): row} for row in body["instances"]]
        outputs = signatures[name](
            **{key: tf.constant([row[key] for row in rows], spec.dtype) for key, spec in specs.items()}
        )
        assert outputs["token"].numpy().min() >= 0


def test_a_tokenizer_that_cannot_be_exact_leaves_text_out(tmp_path):
    exported = export(tmp_path, train_tokenizer(not_in_graph=True), ExportParams(top_k=2))
    report = exported.read_json("report.json")
    assert set(report["signatures"]) == {"serving_default", "tokens", "logits"}
    assert report["signatures"]["serving_default"] == report["signatures"]["tokens"]
    assert not report["text_signatures"]
    assert "Metaspace" in report["why_no_text_signatures"]
    assert report["max_top_k"] is None
    assert exported.summary.startswith("answers token ids only, because of its tokenizer: ")
    # The command to ask it with names the tokenizer, and no more candidates than there are.
    arguments = client_arguments(complete.push(), exported, exported.saved_model_directory)
    asked = make_parser().parse_args(arguments)
    assert (asked.texts, asked.top_k, asked.model) == ([report["example"]["text"]], 2, "fill_mask")
    assert ClientTokenizer(asked.tokenizer)
    assert "## No text" in (exported.saved_model_directory / "MODEL.md").read_text("utf-8")
    loaded = tf.saved_model.load(str(exported.saved_model_directory))
    outputs = loaded.signatures["serving_default"](
        input_ids=tf.constant([[0, 4, 5, 2], [0, 2, 1, 1]]), attention_mask=tf.constant([[1] * 4, [1, 1, 0, 0]])
    )
    np.testing.assert_array_equal(outputs["position"], [[1], [-1]])


@pytest.mark.slow
def test_no_more_candidates_are_promised_than_the_vocabulary_has(tmp_path):
    tokenizer = train_tokenizer()
    exported = export(tmp_path, tokenizer, ExportParams(top_k=500, max_top_k=600))
    report = exported.read_json("report.json")
    assert report["top_k"] == report["max_top_k"] == len(tokenizer)
    assert f"from 1 to {len(tokenizer)}" in (exported.saved_model_directory / "MODEL.md").read_text("utf-8")


@pytest.mark.parametrize("text", ["-<mask>-", "It's <mask>.", "<mask>\nand <mask>"])
def test_the_command_to_ask_with_takes_any_example(exported, monkeypatch, text):
    monkeypatch.setattr(ServingModel, "example", text)
    arguments = client_arguments(complete.push(model_name="other"), exported, Path("version"))
    asked = make_parser().parse_args(arguments)
    assert (asked.texts, asked.top_k, asked.model, asked.tokenizer) == ([text], 3, "other", None)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"top_k": 0}, "export.top_k"),
        ({"top_k": 101}, "export.max_top_k"),
        ({"example": "no mask"}, "export.example"),
    ],
)
def test_absurd_params_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        ExportParams(**params)


def test_module_imports_no_heavy_library():
    code = (
        "import sys, components.export; print([m for m in ('tensorflow', 'transformers', 'numpy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
