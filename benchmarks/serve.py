"""The embedded server beside transformers' fill-mask pipeline behind HTTP, and the bare Keras call as the limit.

    python benchmarks/serve.py [--model small|distilroberta|both] [--rounds 3] [--seconds 5]

Everybody has the same model (random weights: they don't change the speed), the same tokenizer and the same texts,
each with one mask, and takes turns, so that a busy machine slows all alike:

    rest      `python -m serving`, REST: text in, the pipeline's answer out
    grpc      the same process, over gRPC
    tf        transformers' FillMaskPipeline with the TensorFlow model, behind Python's ThreadingHTTPServer
    torch     the same with PyTorch (left out where it isn't installed: pip install torch==2.13.0)
    empty     no model: Python's gRPC server with an answer that is ready, which bounds what any server over it reaches
    keras     no server: the Keras model in a tf.function on token ids that are ready, logits out and thrown away

Servers run in processes of their own. The clients are coroutines of one process that keep their connections open and
ask for one text at a time, each as soon as it has its answer; they use the same cores. p50 and p99 are of one client.
`keras` has its latency with one text, and its texts a second with the best of several batch sizes, padded to the
longest text. The last columns are the processor time that a text costs with 32 clients, in the server (or the bare
call) and in the clients: a busy machine disturbs it less than the speed, which clients on other cores would raise.
`grpc_bound_32` is the part of the bare call's speed that is left if each text costs the processor time of `empty` and
its client besides.

Prints a table a model, then the same as one line of JSON.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import importlib.util
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

# Before TensorFlow is imported here, for the messages of gRPC, or in the processes that inherit it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Several processes share a GPU here.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from foundation.keras_choice import choose_keras

choose_keras()

from benchmarks.serving_load import Load, drive, grpc_client, http_client
from benchmarks.small_model import ROFORMER

CORES = len(os.sched_getaffinity(0))
CLIENTS = (1, 8, 32)
BATCH_SIZES = (1, 8, 16, 32, 64)
TEXTS = 256
SMALL = {"model_type": "roformer", "model_config": ROFORMER}
DISTILROBERTA = {
    "model_type": "roberta",
    "model_config": {"vocab_size": 50265, "num_hidden_layers": 6, "max_position_embeddings": 514},
}
MODELS = ("small", "distilroberta")
COSTS = ("cpu_ms_per_text", "client_cpu_ms_per_text")


def main() -> None:
    """Parses the command line and runs what it asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*MODELS, "both"], default="both", help="which shape (default: both)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each (default: 3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each measurement (default: 5)")
    parser.add_argument("--do", choices=["prepare", "tf", "torch", "empty", "keras"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.do == "prepare":
        prepare(arguments.folder, arguments.model)
    elif arguments.do == "keras":
        run_keras(arguments.folder)
    elif arguments.do == "empty":
        asyncio.run(serve_empty())
    elif arguments.do:
        serve_pipeline(arguments.folder, arguments.do)
    else:
        names = MODELS if arguments.model == "both" else (arguments.model,)
        print(json.dumps({name: compare(name, arguments.rounds, arguments.seconds) for name in names}))


# ---- what is served


def prepare(folder: Path, name: str) -> None:
    """Writes `checkpoint/model`, `tokenizer`, `fill_mask/1` and `texts.json`."""
    from components.contract.artifacts import Checkpoint, Corpus, Tokenizer
    from components.export import Export
    from components.ingest import Ingest, IngestParams
    from components.modeling.checkpoint import build_masked_lm, save_masked_lm
    from components.tokenizer import PrepareTokenizer, TokenizerParams

    shape, vocab_size = (SMALL, 2048) if name == "small" else (DISTILROBERTA, 50265)
    for part in ("corpus", "tokenizer", "export"):
        (folder / part).mkdir()
    Ingest(IngestParams()).run(folder / "corpus")
    corpus = Corpus(folder / "corpus")
    params = TokenizerParams(vocab_size=vocab_size)
    PrepareTokenizer(corpus, "answers.text", params).run(folder / "tokenizer")
    tokenizer = Tokenizer(folder / "tokenizer").load()
    model = build_masked_lm(shape["model_type"], shape["model_config"], tokenizer, seed=0)
    save_masked_lm(model, tokenizer, folder / "checkpoint/model")
    Export(Checkpoint(folder / "checkpoint"), Tokenizer(folder / "tokenizer")).run(folder / "export")
    (folder / "fill_mask").mkdir()
    (folder / "export/saved_model").rename(folder / "fill_mask/1")
    texts = list(masked_texts(corpus.split("train"), tokenizer.mask_token))
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    facts = {"texts": texts, "median_tokens": statistics.median(lengths), "most_tokens": max(lengths)}
    (folder / "texts.json").write_text(json.dumps(facts), "utf-8")
    print("ready", flush=True)


def masked_texts(records: Any, mask_token: str) -> Iterator[str]:
    """Paragraphs of 8 to 40 words, one word of each replaced by the mask."""
    generator = random.Random(0)
    paragraphs = (" ".join(text.split()) for record in records for text in record["answers"]["text"])
    fitting = (words for words in map(str.split, paragraphs) if 8 <= len(words) <= 40)
    for words in itertools.islice(fitting, TEXTS):
        words[generator.randrange(len(words))] = mask_token
        yield " ".join(words)


# ---- peers, each in a process of its own


def serve_pipeline(folder: Path, framework: str) -> None:
    """Transformers' pipeline behind the simplest HTTP server; prints its port."""
    if framework == "torch":
        os.environ["USE_TF"] = "0"
        # On a busy machine threads that wait by spinning hold up those they wait for, 100 times over.
        os.environ["OMP_WAIT_POLICY"] = "passive"
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Lock

    from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, TFAutoModelForMaskedLM
    from transformers.pipelines import FillMaskPipeline

    checkpoint = folder / "checkpoint/model"
    config = AutoConfig.from_pretrained(checkpoint)
    if framework == "torch":
        model = AutoModelForMaskedLM.from_config(config).eval()
    else:
        model = TFAutoModelForMaskedLM.from_config(config)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    pipeline = FillMaskPipeline(model=model, tokenizer=tokenizer, framework="pt" if framework == "torch" else "tf")
    # A tokenizer used by two threads at once raises "Already borrowed".
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
            with lock:
                answer = pipeline(text)
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


async def serve_empty() -> None:
    """An answer of the usual size to every request over gRPC; prints the address."""
    import grpc
    import numpy as np
    from tensorflow_serving.apis import predict_pb2

    from serving.server.messages import write_outputs

    numbers, words = np.ones((1, 1, 5), np.float32), np.full((1, 1, 5), b" word", object)
    answer = predict_pb2.PredictResponse()
    outputs = {"score": numbers, "token": numbers.astype(np.int32), "token_str": words, "sequence": words * 25}
    write_outputs({**outputs, "status": words[0, 0, :1]}, answer.outputs)
    data = answer.SerializeToString()

    async def predict(request: bytes, context: Any) -> bytes:
        return data

    server = grpc.aio.server()
    handlers = {"Predict": grpc.unary_unary_rpc_method_handler(predict)}
    name = "tensorflow.serving.PredictionService"
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def run_keras(folder: Path) -> None:
    """Measures the bare call for as many seconds as each line of input says; prints a line of JSON for each."""
    import numpy as np
    import tensorflow as tf
    from transformers import AutoConfig, AutoTokenizer, TFAutoModelForMaskedLM

    # The library's own class, as everybody has it.
    model = TFAutoModelForMaskedLM.from_config(AutoConfig.from_pretrained(folder / "checkpoint/model"))
    tokenizer = AutoTokenizer.from_pretrained(folder / "checkpoint/model")
    texts = json.loads((folder / "texts.json").read_text("utf-8"))["texts"]
    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[spec, spec], autograph=False)
    def call(input_ids: tf.Tensor, attention_mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = model({"input_ids": input_ids, "attention_mask": attention_mask}, training=False).logits
        return logits, logits[0, 0, 0]

    def batches(size: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
        found = []
        for start in range(0, len(texts), size):
            encoded = tokenizer(texts[start : start + size], padding=True, return_tensors="np")
            found.append(tuple(tf.constant(encoded[name].astype(np.int32)) for name in ("input_ids", "attention_mask")))
        return found

    ready = {size: batches(size) for size in BATCH_SIZES}
    for size in BATCH_SIZES:
        call(*ready[size][0])
    print("ready", flush=True)
    for line in sys.stdin:
        measured = {}
        for size in BATCH_SIZES:
            durations, rows = [], 0
            processor_seconds = time.process_time()
            end = time.perf_counter() + float(line)
            for batch in itertools.cycle(ready[size]):
                start = time.perf_counter()
                call(*batch)[1].numpy()  # waits for a GPU
                durations.append(time.perf_counter() - start)
                rows += len(batch[0])
                if start > end:
                    break
            measured[size] = {
                "durations": durations,
                "texts_per_second": rows / sum(durations),
                "cpu_ms_per_text": 1000 * (time.process_time() - processor_seconds) / rows,
            }
        print(json.dumps(measured), flush=True)


# ---- the comparison


@dataclasses.dataclass(frozen=True)
class Peer:
    """A server under measurement: its name, where it answers, and its process."""

    name: str
    address: str
    process: "Process"


class Process:
    """A process of this Python, whose complaints are shown only if it ends by itself."""

    def __init__(self, *command: object) -> None:
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115  (closed at the exit)
        self._process = subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()
        self._complaints.close()

    def write_line(self, line: str) -> None:
        """Hands it a line of input."""
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def processor_seconds(self) -> float:
        """The processor time that it has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def read_line(self, prefix: str = "") -> str:
        """Its next line with a prefix, without it."""
        for line in self._process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        self._complaints.seek(0)
        print(self._complaints.read(), file=sys.stderr)
        raise SystemExit(f"{' '.join(self._process.args)} ended with {self._process.wait()}")


async def measure(peer: "Peer", texts: list[str], clients: int, seconds: float) -> tuple[Load, float]:
    """One measurement of a server, after a few requests that don't count; and its seconds of processor time."""
    async with contextlib.AsyncExitStack() as stack:
        ask = await (grpc_client if peer.name in ("grpc", "empty") else http_client)(peer.name, peer.address, stack)
        await drive(ask, texts, clients, min(0.5, seconds))
        before = peer.process.processor_seconds()
        load = await drive(ask, texts, clients, seconds)
        return load, peer.process.processor_seconds() - before


def compare(name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Measures everybody with one model; prints the table and returns the numbers."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        this = Path(__file__)
        with Process(this, "--do", "prepare", "--folder", folder, "--model", name) as preparing:
            preparing.read_line("ready")
        facts = json.loads((Path(folder) / "texts.json").read_text("utf-8"))
        peers = []
        arguments = ("--model-dir", Path(folder) / "fill_mask", "--port", 0, "--grpc-port", 0)
        embedded = stack.enter_context(Process("-m", "serving", *arguments))
        url = embedded.read_line("fill_mask version 1").rsplit(" ", 1)[1]
        peers += [Peer("rest", f"{url}:predict", embedded), Peer("grpc", embedded.read_line("gRPC:"), embedded)]
        for framework in ("tf", "torch"):
            if framework == "torch" and importlib.util.find_spec("torch") is None:
                print("PyTorch is left out: it isn't installed (pip install torch==2.13.0)", file=sys.stderr)
                continue
            process = stack.enter_context(Process(this, "--do", framework, "--folder", folder))
            peers.append(Peer(framework, f"http://127.0.0.1:{process.read_line()}/", process))
        empty = stack.enter_context(Process(this, "--do", "empty"))
        peers.append(Peer("empty", empty.read_line(), empty))
        keras = stack.enter_context(Process(this, "--do", "keras", "--folder", folder))
        keras.read_line("ready")
        measured = [
            one_round(peers, keras, facts["texts"], seconds, f"{name}, round {number + 1} of {rounds}")
            for number in range(rounds)
        ]
    return report(name, facts, measured)


def one_round(
    peers: list[Peer], keras: Process, texts: list[str], seconds: float, title: str
) -> dict[str, dict[str, float]]:
    """p50, p99 in milliseconds, texts a second and processor time of everybody, once."""
    found: dict[str, dict[str, float]] = {peer.name: {} for peer in peers}
    for clients in CLIENTS:
        for peer in peers:
            load, processor_seconds = asyncio.run(measure(peer, texts, clients, seconds))
            found[peer.name][f"texts_per_second_{clients}"] = load.per_second
            if clients == 1:
                found[peer.name].update(percentiles(load.durations))
            else:
                # Of the last, which is the most, in the end.
                found[peer.name]["cpu_ms_per_text"] = 1000 * processor_seconds / len(load.durations)
                found[peer.name]["client_cpu_ms_per_text"] = 1000 * load.processor_seconds / len(load.durations)
    keras.write_line(str(seconds))
    sizes = json.loads(keras.read_line())
    best = max(sizes, key=lambda size: sizes[size]["texts_per_second"])
    found["keras"] = {
        **percentiles(sizes["1"]["durations"]),
        "texts_per_second_1": sizes["1"]["texts_per_second"],
        "best_texts_per_second": sizes[best]["texts_per_second"],
        "best_batch_size": int(best),
        "cpu_ms_per_text": sizes[best]["cpu_ms_per_text"],
    }
    shown = ", ".join(f"{peer.name} {found[peer.name]['texts_per_second_32']:,.0f}" for peer in peers)
    limit = f"keras {found['keras']['best_texts_per_second']:,.0f}"
    print(f"{title}: {shown}, {limit} texts/s", file=sys.stderr)
    return found


def percentiles(durations: list[float]) -> dict[str, float]:
    """p50 and p99 in milliseconds."""
    ordered = sorted(durations)
    at = {"p50_ms": 0.5, "p99_ms": 0.99}
    return {name: 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in at.items()}


def report(name: str, facts: dict[str, Any], rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Prints the table; returns medians, and the ratios of each round's own numbers."""
    medians = {
        who: {number: statistics.median(one[who][number] for one in rounds) for number in rounds[0][who]}
        for who in rounds[0]
    }

    def ratio(value: Callable[[dict[str, dict[str, float]]], float]) -> float:
        return round(statistics.median(map(value, rounds)), 3)

    ratios = {}
    for server in ("rest", "grpc"):
        ratios[f"{server}_p50_over_limit"] = ratio(
            lambda one, server=server: one[server]["p50_ms"] / (1.25 * one["keras"]["p50_ms"] + 2)
        )
        for peer in sorted({"tf", "torch"} & medians.keys()):
            ratios[f"{server}_over_{peer}_32"] = ratio(
                lambda one, server=server, peer=peer: (
                    one[server]["texts_per_second_32"] / one[peer]["texts_per_second_32"]
                )
            )
        ratios[f"{server}_over_keras_32"] = ratio(
            lambda one, server=server: one[server]["texts_per_second_32"] / one["keras"]["best_texts_per_second"]
        )
    ratios["grpc_bound_32"] = ratio(
        lambda one: (
            one["keras"]["cpu_ms_per_text"]
            / sum(one[who][cost] for who, cost in (("keras", COSTS[0]), ("empty", COSTS[0]), ("empty", COSTS[1])))
        )
    )
    tokens = f"{facts['median_tokens']:.0f} tokens a text (median; at most {facts['most_tokens']})"
    print(f"\n{name}: {tokens}, {CORES} cores, medians of {len(rounds)} rounds\n")
    heads = [f"{clients} clients" for clients in CLIENTS] + ["CPU ms/text", "client's"]
    print(f"{'':8}{'p50 ms':>10}{'p99 ms':>10}" + "".join(f"{head:>14}" for head in heads))
    for who, numbers in medians.items():
        speeds = [numbers.get(f"texts_per_second_{clients}") for clients in CLIENTS]
        cells = [f"{speed:>10,.1f} t/s" if speed is not None else f"{'–':>14}" for speed in speeds]
        costs = [numbers.get(name) for name in COSTS]
        cells += [f"{cost:>14.2f}" if cost is not None else f"{'–':>14}" for cost in costs]
        print(f"{who:8}{numbers['p50_ms']:>10.1f}{numbers['p99_ms']:>10.1f}{''.join(cells)}")
    best = medians["keras"]
    print(f"\nkeras at its best: {best['best_texts_per_second']:,.1f} t/s with {best['best_batch_size']:.0f} at once\n")
    targets = {
        "bound_32": "–",
        "p50_over_limit": "at most 1",
        "over_tf_32": "at least 3",
        "over_torch_32": "at least 1.5",
    }
    for key, value in ratios.items():
        wanted = targets.get(key.split("_", 1)[1], "at least 0.85")
        print(f"{key:24}{value:>8.2f}   target: {wanted}")
    print()
    return {
        "cores": CORES,
        "rounds": len(rounds),
        "median_tokens": facts["median_tokens"],
        "medians": {
            who: {key: round(number, 2) for key, number in numbers.items()} for who, numbers in medians.items()
        },
        "ratios": ratios,
    }


if __name__ == "__main__":
    main()
