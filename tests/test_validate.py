"""Validation before push: real servers, real models; what differs or is broken is caught, and no process stays."""

import contextlib
import dataclasses
import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import types

import numpy as np
import psutil
import pytest

from components.contract import manifest
from components.contract.artifacts import Checkpoint, InfraBlessing, ServingModel, Tokenizer
from components.export import Export
from components.exporting.params import ExportParams
from components.validate import Validate
from components.validation import load, server_process
from components.validation.answer_difference import compare
from components.validation.expected_answers import fill_mask_pipeline
from components.validation.params import ValidateParams
from components.validation.probe import Probe
from foundation.errors import ConfigError, ServingError
from serving.client.rest_transport import RestTransport
from serving.client.waiting import run_at_once


def finish(kind, path):
    manifest.write(path, {"type": kind.__name__})
    return kind(path)


def make_tokenizer(not_in_graph=False):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    if not_in_graph:
        backend = Tokenizer(models.Unigram())
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(prepend_scheme="first"), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False)
    else:
        backend = Tokenizer(models.BPE())
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    backend.train_from_iterator(["The Milky Way is a spiral galaxy, and the sky is blue."] * 3, trainer)
    backend.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        mask_token="<mask>",
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
        **names,
    )


def make_checkpoint(directory, tokenizer, seed):
    from components.modeling.checkpoint import build_masked_lm, save_masked_lm

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    sizes |= {"max_position_embeddings": 66, "initializer_range": 0.5}
    save_masked_lm(build_masked_lm("roberta", sizes, tokenizer, seed), tokenizer, directory / "model")
    return finish(Checkpoint, directory)


def made(directory, not_in_graph=False):
    """The step, for a model with random weights that was really exported."""
    tokenizer = make_tokenizer(not_in_graph)
    checkpoint = make_checkpoint(directory / "checkpoint", tokenizer, seed=0)
    tokenizer.save_pretrained(directory / "tokenizer/tokenizer")
    tokenizer_artifact = finish(Tokenizer, directory / "tokenizer")
    (directory / "model").mkdir()
    Export(checkpoint, tokenizer_artifact, ExportParams(example="The Milky Way is a <mask> galaxy.")).run(
        directory / "model"
    )
    return Validate(finish(ServingModel, directory / "model"), checkpoint, tokenizer_artifact, ValidateParams())


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    return made(tmp_path_factory.mktemp("step"))


@pytest.fixture(autouse=True)
def nothing_left_running():
    before = set(psutil.Process().children(recursive=True))
    yield
    assert set(psutil.Process().children(recursive=True)) <= before


def run(step, out):
    out.mkdir()
    step.run(out)
    return finish(InfraBlessing, out)


def test_an_export_passes(step, tmp_path):
    params = ValidateParams(
        texts=("The answer is <mask>.", "<mask> and <mask>", "Nothing.", "東京 🙂 <mask>", "so " * 100 + "<mask>")
    )
    blessing = run(dataclasses.replace(step, params=params), tmp_path / "out")
    report = blessing.read_json("report.json")
    assert [row["status"] for row in report["texts"]] == ["ok", "ok", "no_mask", "ok", "too_many_tokens", "ok"]
    assert report["texts"][-1]["text"] == "The Milky Way is a <mask> galaxy."
    assert report["largest_score_difference"] < 1e-4
    assert 0 < report["median_request_milliseconds"] < 1000 * report["start_seconds"]
    assert blessing.summary.startswith("6 texts answered as by the checkpoint, scores within ")
    assert blessing.blesses(step.model)


@pytest.mark.long
@pytest.mark.slow
def test_a_model_that_a_given_server_has_until_it_dies(step, tmp_path):
    with (  # noqa: PT012 (one server for all of it: each takes seconds to start)
        pytest.raises(ServingError, match="ended with signal SIGKILL"),
        server_process.serving(step.model.saved_model_directory, tmp_path / "log", 200) as server,
    ):
        at_url = dataclasses.replace(
            step, params=ValidateParams(url=f"{server.url}/v1/models/{server.model}", timeout_seconds=60)
        )
        assert at_url.sources() == {"server": at_url.params.url}
        blessing = run(at_url, tmp_path / "out")
        report = blessing.read_json("report.json")
        assert report["server"] == f"the server at {at_url.params.url}"
        assert report["start_seconds"] is None
        assert f"scores within {report['largest_score_difference']:.0e}; the server at http" in blessing.summary
        assert " was up in " not in blessing.summary

        other = dataclasses.replace(step, params=ValidateParams(url=f"{server.url}/v1/models/other"))
        with pytest.raises(ServingError, match=r"must have a model named other.*leave out --validate\.url"):
            run(other, tmp_path / "other")
        checkpoint = make_checkpoint(tmp_path / "checkpoint", make_tokenizer(), seed=1)
        with pytest.raises(ServingError, match=r"instead of .*see that http.*--validate\.url"):
            run(dataclasses.replace(at_url, checkpoint=checkpoint), tmp_path / "another")

        os.kill(server.process_id, signal.SIGKILL)
        run_at_once(RestTransport(server.url, server.model, 5, retries=0).signature_names())
    with pytest.raises(ServingError, match=r"a server must listen at the URL.*leave out --validate\.url"):
        run(at_url, tmp_path / "gone")


@pytest.mark.parametrize(
    ("signature", "how"),
    [
        pytest.param("fill_mask", r"through the signature fill_mask with \{'top_k': 6\}", marks=pytest.mark.slow),
        pytest.param("logits", "logits differ by .* through the signature logits", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_answer_of_any_signature_is_caught(step, tmp_path, monkeypatch, signature, how):
    """The export's own signatures, one of them with other weights."""

    def build(self, model, tokenizer):
        module, longest, reason = real_build(self, model, tokenizer)
        other = make_checkpoint(tmp_path / "other", make_tokenizer(), seed=1)
        other_model = dataclasses.replace(self, checkpoint=other).form(tokenizer).model
        [wrong, _, _] = real_build(self, other_model, tokenizer)
        module.weights = [*module.weights, *wrong.weights]
        tables = [*module.tables(), *wrong.tables()]
        module.tables = lambda: tables
        mixed = {**module.signatures(), signature: wrong.signatures()[signature]}
        module.signatures = lambda: mixed
        alive.append(wrong)
        return module, longest, reason

    alive = []  # A function of TensorFlow's doesn't keep the module alive that it is a method of.
    real_build = Export.build
    monkeypatch.setattr(Export, "build", build)
    (tmp_path / "model").mkdir()
    Export(step.checkpoint, step.tokenizer, ExportParams()).run(tmp_path / "model")
    with pytest.raises(ServingError, match=how):
        run(dataclasses.replace(step, model=finish(ServingModel, tmp_path / "model")), tmp_path / "out")


@pytest.mark.slow
def test_an_export_without_text_signatures_passes(tmp_path):
    report = run(made(tmp_path, not_in_graph=True), tmp_path / "out").read_json("report.json")
    assert {row["status"] for row in report["texts"]} == {"ok"}


@pytest.mark.slow
def test_an_export_in_bfloat16_is_compared_twice(step, tmp_path):
    (tmp_path / "model").mkdir()
    Export(step.checkpoint, step.tokenizer, ExportParams(precision="bfloat16")).run(tmp_path / "model")
    rounded = dataclasses.replace(step, model=finish(ServingModel, tmp_path / "model"))
    report = run(rounded, tmp_path / "out").read_json("report.json")
    assert report["largest_own_difference"] <= report["own_tolerance"] < report["tolerance"] < 0.5
    assert 1e-4 < report["largest_score_difference"] <= report["tolerance"]
    checkpoint = make_checkpoint(tmp_path / "checkpoint", make_tokenizer(), seed=1)
    with pytest.raises(ServingError, match=r"instead of .* for '<mask>'"):
        run(dataclasses.replace(rounded, checkpoint=checkpoint), tmp_path / "other")


@pytest.mark.slow
def test_an_export_of_other_weights_is_caught(step, tmp_path):
    checkpoint = make_checkpoint(tmp_path / "checkpoint", make_tokenizer(), seed=1)
    with pytest.raises(ServingError, match=r"instead of .* for '<mask>' .*--force export"):
        run(dataclasses.replace(step, checkpoint=checkpoint), tmp_path / "out")
    assert not (tmp_path / "out/report.json").exists()


@pytest.mark.parametrize("name", ["saved_model.pb", pytest.param("variables/variables.index", marks=pytest.mark.slow)])
def test_a_broken_model_is_caught(step, tmp_path, name):
    shutil.copytree(step.model.directory, tmp_path / "model")
    (tmp_path / "model/saved_model" / name).write_bytes(b"broken")
    broken = dataclasses.replace(step, model=finish(ServingModel, tmp_path / "model"))
    with pytest.raises(
        ServingError, match=r"embedded server ended with exit code 1: .*versions of the model.*load.*--force export"
    ):
        run(broken, tmp_path / "out")


def test_a_server_that_takes_too_long_is_stopped(step, tmp_path):
    hasty = dataclasses.replace(step, params=ValidateParams(timeout_seconds=0.2))
    with pytest.raises(ServingError, match=r"within 0\.2 seconds.*--validate\.timeout_seconds"):
        run(hasty, tmp_path / "out")


@pytest.mark.slow
def test_a_server_ends_with_its_parent_even_where_that_is_killed(step, tmp_path):
    parent = (
        "import sys, time; from pathlib import Path; from components.validation import server_process\n"
        "with server_process.serving(Path(sys.argv[1]), Path(sys.argv[2]), 200) as server:\n"
        "    print(server.process_id, flush=True); time.sleep(200)"
    )
    command = [sys.executable, "-c", parent, step.model.saved_model_directory, tmp_path / "log"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    server = psutil.Process(int(process.stdout.readline()))
    process.kill()
    process.communicate()
    server.wait(10)


# Takes TensorFlow Serving's options and serves with the embedded server.
STAND_IN = """#!{python}
import os, sys
arguments = [one for one in sys.argv[1:] if one != "--max_num_load_retries=0"]
assert len(arguments) == len(sys.argv) - 2 and "--port=0" in arguments
assert not [one for one in arguments if "batching" in one]
os.execv(sys.executable, [sys.executable, "-m", "serving", "--host", "127.0.0.1", *arguments])
"""


@pytest.mark.slow
def test_tensorflow_serving_on_the_path_is_preferred(step, tmp_path, monkeypatch):
    assert step.sources() == {"server": "the embedded server"}
    program = tmp_path / "bin/tensorflow_model_server"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    assert step.sources() == {"server": "tensorflow_model_server"}
    assert run(step, tmp_path / "out").read_json("report.json")["server"] == "tensorflow_model_server"


def candidates(*scores_by_token):
    return [
        {"score": score, "token": token, "token_str": f" t{token}", "sequence": f"a t{token}"}
        for token, score in scores_by_token
    ]


@pytest.mark.parametrize(
    ("received", "difference"),
    [
        (candidates((1, 0.5), (2, 0.3), (3, 0.1)), None),
        (candidates((1, 0.500001), (2, 0.3), (3, 0.1)), None),
        (candidates((1, 0.5001), (2, 0.3), (3, 0.1)), "candidate 1: ' t1' has score 0.5001 instead of 0.5"),
        (candidates((1, float("nan")), (2, 0.3), (3, 0.1)), "score nan"),
        (candidates((2, 0.5), (1, 0.3), (3, 0.1)), "candidate 1: ' t2' with score 0.5 instead of ' t1' with 0.5"),
        (candidates((1, 0.5), (2, 0.3), (9, 0.1)), None),
        (candidates((1, 0.5), (2, 0.3), (9, 0.11)), "candidate 3"),
        (candidates((1, 0.5), (9, 0.3), (3, 0.1)), "candidate 2"),
        (candidates((1, 0.5), (2, 0.3)), "2 candidates instead of 3"),
        ([], "0 masks instead of 1"),
    ],
)
def test_comparison(received, difference):
    found = compare(candidates((1, 0.5), (2, 0.3), (3, 0.1)), received, 1e-5).difference
    assert found is None if difference is None else difference in found


def test_ties_may_swap_but_not_repeat():
    expected = candidates((1, 0.5), (2, 0.5), (3, 0.1))
    assert compare(expected, candidates((2, 0.5), (1, 0.5), (3, 0.1)), 1e-5).difference is None
    assert "candidate 2" in compare(expected, candidates((1, 0.5), (1, 0.5), (3, 0.1)), 1e-5).difference


@pytest.mark.parametrize(
    ("answered", "targets"),
    [([99, 7, 8, 99], ["<t7>", "<t8>"]), ([7, 99], ["<t7>", "<t7>"]), ([98, 99], None)],
)
def test_ids_that_are_no_tokens_are_no_targets(answered, targets):
    """A model may know more ids than its tokenizer has tokens."""
    model = types.SimpleNamespace(takes_text=True, report=types.SimpleNamespace(top_k=2), most_candidates=9)
    names = types.SimpleNamespace(convert_ids_to_tokens=lambda ids: [f"<t{i}>" if i < 9 else None for i in ids])
    answer = candidates(*((token, 0.1) for token in answered))
    client = types.SimpleNamespace(ask_tokens=lambda texts: [answer], ask_fill_mask=lambda text, **options: answer)
    asked = Probe(model, names, ValidateParams())._ask_other_signatures(client, "a <mask>")
    assert [options["targets"] for _, options, _ in asked if "targets" in options] == ([targets] if targets else [])


@pytest.mark.parametrize("key", ["token_str", "sequence"])
def test_another_text_is_a_difference(key):
    [candidate] = candidates((1, 0.5))
    assert key in compare([candidate], [{**candidate, key: "t"}], 1e-5).difference


def test_the_reference_is_computed_on_the_cpu(step):
    pipeline = fill_mask_pipeline(step.checkpoint.model_directory, step.tokenizer.load(), 5)
    assert pipeline.device == -1


@pytest.mark.long
@pytest.mark.slow
def test_a_given_server_may_compute_in_tf32(step, tmp_path):
    """The weights are rounded as a GPU rounds what it multiplies, to 10 binary digits."""
    from components.modeling.checkpoint import load_masked_lm, save_masked_lm

    model = load_masked_lm(step.checkpoint.model_directory)
    model.set_weights([rounded_to_tf32(weight) for weight in model.get_weights()])
    save_masked_lm(model, step.tokenizer.load(), tmp_path / "checkpoint/model")
    (tmp_path / "model").mkdir()
    Export(finish(Checkpoint, tmp_path / "checkpoint"), step.tokenizer, ExportParams()).run(tmp_path / "model")
    with server_process.serving(tmp_path / "model/saved_model", tmp_path / "log", 200) as server:
        url = f"{server.url}/v1/models/{server.model}"
        run(dataclasses.replace(step, params=ValidateParams(url=url)), tmp_path / "out")
        exact = dataclasses.replace(step, params=ValidateParams(url=url, tolerance=1e-5))
        with pytest.raises(ServingError, match=r"has score .*allow more than 1e-05 with --validate.tolerance"):
            run(exact, tmp_path / "exact")


def rounded_to_tf32(weight):
    rounded = (weight.astype(np.float32).view(np.uint32) + 0x1000) & 0xFFFFE000
    return rounded.astype(np.uint32).view(np.float32)


def test_a_server_started_here_is_held_to_less():
    assert ValidateParams().allowed == 1e-4
    assert ValidateParams(url="http://127.0.0.1:8501/v1/models/m").allowed == 0.05
    assert ValidateParams(url="http://127.0.0.1:8501/v1/models/m", tolerance=1e-3).allowed == 1e-3


@pytest.mark.parametrize(
    "params",
    [
        {"tolerance": 0},
        {"tolerance": float("nan")},
        {"timeout_seconds": 0},
        {"timeout_seconds": float("inf")},
        {"url": "127.0.0.1:8501"},
        {"url": "http://127.0.0.1:8501"},
    ],
)
def test_absurd_params_are_refused(params):
    with pytest.raises(ConfigError, match=f"validate.{next(iter(params))}"):
        ValidateParams(**params)


def test_no_text_that_can_be_answered(step, tmp_path):
    shutil.copytree(step.model.directory, tmp_path / "model")
    report = tmp_path / "model/report.json"
    report.write_text(report.read_text().replace('"max_sequence_length": 64', '"max_sequence_length": 2'))
    with pytest.raises(ServingError, match=r"of which none has.*--validate.texts"):
        run(dataclasses.replace(step, model=finish(ServingModel, tmp_path / "model")), tmp_path / "out")


def test_module_imports_no_heavy_library():
    code = "import sys, components.validate; print([m for m in ('tensorflow', 'httpx', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def at_once(ask, timeout_seconds=20.0):
    request = load.Request("a text", ask, [1.0], load.difference_of_numbers)
    return load.ask_at_once(io.BytesIO, [request], timeout_seconds)


def test_clients_at_once_find_what_only_shows_beside_others():
    barrier = threading.Barrier(2)

    def beside_another(_):
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(0.2)
            return [2.0]
        return [1.0]

    assert at_once(lambda _: [1.0]) == load.CLIENTS * load.REQUESTS + 1
    with pytest.raises(ServingError, match=r"as it answers one alone.*numbers differ by up to 1\.0e\+00, for a text"):
        at_once(beside_another)


def test_a_fault_of_a_client_isnt_taken_for_an_answer():
    def ask(_):
        raise KeyError("not of the server")

    with pytest.raises(KeyError, match="not of the server"):
        at_once(ask)


def test_clients_at_once_find_what_hangs():
    released = threading.Event()
    with pytest.raises(ServingError, match=r"no answer within 0\.5 seconds to a text.*--enable_batching"):
        at_once(lambda _: released.wait(60), timeout_seconds=0.5)
    released.set()
