"""What a corpus and a model cost in time and money, from measured rates: a table by tokens and GPUs.

    python benchmarks/scaling.py [--rates FILE ...] [--set NAME VALUE ...] [--batch_tokens 1048576]

It runs nothing. The rates below were measured with the other scripts here, or are published, as each says. `--rates`
takes what `benchmarks/scale.py` printed, of which the last line counts, or a JSON file with rates by name; `--set` a
single one. So the table can be made again for a cluster on which that script was run.

The model of time, a step of the pipeline each:

    preprocess   tokens / min(cores x preprocess_tokens_a_core, fill_tokens): workers tokenize, one process writes
    train        steps x (launch_seconds + compute + exchange), where
                   compute   = operations of a device's share / (peak_flops x utilization)
                   exchange  = 2 (n - 1) / n x gradient bytes / bandwidth, for n devices in a machine, then for the
                               machines (a ring; none of it hidden behind the compute, which is the worst case)
                 and not faster than input_tokens x machines, at which rows are read and masked
    evaluate     a test split of test_tokens, forward only

Prints the table, where each step stops scaling, how well it meets two published anchors, then all as one line of JSON.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DEVICES_A_MACHINE = 8
TOKENS = (10**9, 10**11, 10**12)
DEVICES = (1, 8, 64, 1024)
CORES_A_DEVICE = 12
"""Processor cores beside each GPU in the usual machines of eight."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """What one core, device or network does. Each is a rate of one of them.

    Attributes:
        preprocess_tokens_a_core: Tokens a second that one core makes of prose (benchmarks/preprocess.py, project); of
            text whose words repeat three times as many (benchmarks/scale.py, steady_rate).
        fill_tokens: Tokens a second that one process takes from workers, puts into blocks and writes
            (benchmarks/scale.py, driver_rate).
        input_tokens: Tokens a second that one process reads and masks (benchmarks/input.py).
        peak_flops: Floating-point operations a second of a device in bfloat16; an H100's, by its data sheet.
        utilization: The part of it that products of a full device reach; NVIDIA's BERT-Large in TF2 on an A100.
        launch_seconds: What a step takes however small it is; on an H100, 10.5 ms for 16 x 128 tokens.
        device_bandwidth: Bytes a second between the devices of a machine, each way; NVLink 4's.
        machine_bandwidth: Bytes a second between machines, each way; eight links of 400 Gbit/s, of which 80% arrive.
        device_dollars: An hour of a device, with its part of the machine.
        core_dollars: An hour of a processor core elsewhere.
    """

    preprocess_tokens_a_core: float = 1.3e6
    fill_tokens: float = 3.0e7
    input_tokens: float = 2.0e7
    peak_flops: float = 989e12
    utilization: float = 0.37
    launch_seconds: float = 0.0085
    device_bandwidth: float = 450e9
    machine_bandwidth: float = 320e9
    device_dollars: float = 3.0
    core_dollars: float = 0.05


@dataclasses.dataclass(frozen=True)
class Model:
    """A model's shape.

    Attributes:
        name: What it is called.
        layers: Its layers.
        hidden: Its hidden size; the inner layers are four times as wide.
        vocabulary: Its tokens.
        block: Tokens a block.
    """

    name: str
    layers: int
    hidden: int
    vocabulary: int
    block: int = 128
    masked: float = 0.15

    @property
    def weights(self) -> int:
        """Its weights: 12 hidden² a layer, and the embeddings, which are the decoder's too."""
        return 12 * self.layers * self.hidden**2 + (self.vocabulary + 512) * self.hidden

    @property
    def operations_a_token(self) -> float:
        """Floating-point operations of training a token, forward and backward, the head at masked positions only."""
        body = 72 * self.layers * self.hidden**2 + 12 * self.layers * self.block * self.hidden
        return body + 6 * self.masked * self.hidden * (self.vocabulary + self.hidden)

    @property
    def gradient_bytes(self) -> int:
        """Bytes of a step's gradients, in float32. The embeddings' are dense: the decoder has the same weights."""
        return 4 * self.weights


MODELS = (Model("distilroberta", 6, 768, 50_265), Model("bert-large", 24, 1024, 30_522))


def preprocess_hours(rates: Rates, tokens: float, cores: int) -> float:
    """Hours to make blocks of text."""
    return tokens / min(cores * rates.preprocess_tokens_a_core, rates.fill_tokens) / 3600


def usable_cores(rates: Rates) -> int:
    """The cores beyond which workers wait for the process that writes."""
    return math.ceil(rates.fill_tokens / rates.preprocess_tokens_a_core)


def exchange_seconds(rates: Rates, model: Model, devices: int) -> float:
    """Seconds in which a step's gradients are summed over all devices."""
    inside = min(devices, DEVICES_A_MACHINE)
    machines = math.ceil(devices / DEVICES_A_MACHINE)
    ring = 2 * model.gradient_bytes
    return ring * (inside - 1) / inside / rates.device_bandwidth + ring * (machines - 1) / machines / (
        rates.machine_bandwidth
    )


def step_seconds(rates: Rates, model: Model, devices: int, batch_tokens: float) -> dict[str, float]:
    """Seconds of an optimizer step, by what they are for."""
    share = batch_tokens / devices
    machines = math.ceil(devices / DEVICES_A_MACHINE)
    parts = {
        "compute": share * model.operations_a_token / (rates.peak_flops * rates.utilization),
        "launch": rates.launch_seconds,
        "exchange": exchange_seconds(rates, model, devices),
    }
    # The input of the next step is made meanwhile; every machine draws the masks of its own rows.
    waiting = batch_tokens / (machines * rates.input_tokens) - sum(parts.values())
    return {**parts, "input": max(0.0, waiting)}


def train_hours(rates: Rates, model: Model, tokens: float, devices: int, batch_tokens: float) -> float:
    """Hours to train once on so many tokens."""
    return tokens / batch_tokens * sum(step_seconds(rates, model, devices, batch_tokens).values()) / 3600


def devices_at_half(rates: Rates, model: Model, batch_tokens: float) -> int:
    """The largest power of two at which the devices still do half of what each would do alone."""
    alone = batch_tokens * model.operations_a_token / (rates.peak_flops * rates.utilization)
    devices = 1
    while alone / (2 * devices) / sum(step_seconds(rates, model, 2 * devices, batch_tokens).values()) >= 0.5:
        devices *= 2
    return devices


def anchors() -> list[dict[str, float | str | None]]:
    """What the model says of two published trainings, beside what they say."""
    # An A100: 312e12 operations a second in bfloat16, NVLink 3 at 300 GB/s each way; steps of 96 x 128 tokens a device,
    # launched as NVIDIA's own programs do, in a tenth of the time.
    a100 = Rates(peak_flops=312e12, device_bandwidth=300e9, launch_seconds=0.001)
    large = MODELS[1]
    seconds = [sum(step_seconds(a100, large, devices, devices * 96 * 128).values()) for devices in (1, 8)]
    base = Model("bert-base", 12, 768, 30_522)
    rate = 8 * 4096 / 8 * 128 / sum(step_seconds(a100, base, 8, 4096 * 128).values())
    return [
        {
            "what": "BERT-Large, TF2, 8 A100, sequences of 128 a second",
            "published": 3799,
            "model": 8 * 96 / seconds[1],
        },
        {"what": "the same, times one A100", "published": 7.8, "model": 8 * seconds[0] / seconds[1]},
        {
            "what": "MosaicBERT-Base, 8 A100, 1.13 h to GLUE 79.6: tokens (10^9) that BERT-Base's shape sees in it",
            "published": None,
            "model": rate * 1.13 * 3600 / 1e9,
        },
    ]


def rates_of(paths: Sequence[Path], changes: Sequence[Sequence[str]]) -> Rates:
    """The rates, with those of files and of the command line in place of the usual ones."""
    rates = Rates()
    names = {field.name for field in dataclasses.fields(Rates)}
    for path in paths:
        given = measured(json.loads(path.read_text("utf-8").strip().splitlines()[-1]))
        rates = dataclasses.replace(rates, **{name: float(value) for name, value in given.items() if name in names})
    for name, value in changes:
        if name not in names:
            raise SystemExit(f"there is no rate {name}; there are {', '.join(sorted(names))}")
        rates = dataclasses.replace(rates, **{name: float(value)})
    return rates


def measured(printed: dict[str, Any]) -> dict[str, float]:
    """The rates in what `benchmarks/scale.py` printed; what else a file holds, as it is."""
    if "parts" not in printed:
        return printed
    found = {}
    preprocess = printed["parts"].get("preprocess", {})
    if "ray, 1" in preprocess:
        found["preprocess_tokens_a_core"] = preprocess["ray, 1"]["steady_rate"]
        found["fill_tokens"] = min(each["driver_rate"] for name, each in preprocess.items() if name != "alone")
    return found


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=Path, nargs="+", default=[], help="What scale.py printed, or rates by name.")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="One rate.")
    parser.add_argument("--batch_tokens", type=int, default=1 << 20, help="Tokens of an optimizer step (%(default)s).")
    arguments = parser.parse_args()
    rates = rates_of(arguments.rates, arguments.set)
    rows = []
    for model in MODELS:
        print(f"\n{model.name}: {model.weights / 1e6:.0f} million weights, {arguments.batch_tokens:,} tokens a step")
        print(f"{'tokens':>8}{'GPUs':>7}{'preprocess h':>14}{'train h':>12}{'dollars':>12}{'of a step: compute':>20}")
        for tokens in TOKENS:
            for devices in DEVICES:
                # More cores than can be used needn't be paid.
                cores = min(devices * CORES_A_DEVICE, usable_cores(rates))
                preprocess = preprocess_hours(rates, tokens, cores)
                hours = train_hours(rates, model, tokens, devices, arguments.batch_tokens)
                parts = step_seconds(rates, model, devices, arguments.batch_tokens)
                dollars = hours * devices * rates.device_dollars + preprocess * cores * rates.core_dollars
                part = parts["compute"] / sum(parts.values())
                print(f"{tokens:8.0e}{devices:7,}{preprocess:14,.2f}{hours:12,.2f}{dollars:12,.0f}{part:20.0%}")
                rows.append(
                    {
                        "model": model.name,
                        "tokens": tokens,
                        "devices": devices,
                        "preprocess_hours": preprocess,
                        "train_hours": hours,
                        "dollars": dollars,
                        "step_seconds": parts,
                    }
                )
    most = usable_cores(rates)
    print(f"\npreprocess stops scaling at {most} cores: one process writes {rates.fill_tokens:,.0f} tokens a second")
    for model in MODELS:
        half = devices_at_half(rates, model, arguments.batch_tokens)
        print(f"training {model.name}: up to {half} GPUs do at least half of what each does alone")
    print("\nanchors, published and by the model")
    for anchor in anchors():
        print(f"  {anchor['published'] or '-':>8}  {anchor['model']:>8.1f}  {anchor['what']}")
    print()
    print(json.dumps({"rates": dataclasses.asdict(rates), "rows": rows}))


if __name__ == "__main__":
    main()
