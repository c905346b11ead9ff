"""What `auto` picks, and what is refused, by devices that this machine need not have."""

import pytest
import tensorflow as tf

from components.modeling.config_classes import config_class
from components.training.devices import Devices, cpu_multiplies_bfloat16
from components.training.execution import Execution, choose_execution
from components.training.params import TrainParams
from foundation.errors import ConfigError


def gpus(count, *capability):
    return Devices("GPU", tuple(f"GPU:{number}" for number in range(count)), capability or None)


CPU = Devices("CPU", ("CPU:0",))
BFLOAT16_CPU = Devices("CPU", ("CPU:0",), bfloat16=True)
TWO_CPUS = Devices("CPU", ("CPU:0", "CPU:1"))


def choose(devices, model_type="bert", values=None, batch_size=16, **params):
    config = config_class(model_type)(**values or {})
    return choose_execution(TrainParams(model_type=model_type, **params), devices, config, batch_size)


@pytest.mark.parametrize(
    ("devices", "precision", "jit_compile", "replicas"),
    [
        (CPU, "float32", False, 1),
        (TWO_CPUS, "float32", False, 1),
        (BFLOAT16_CPU, "mixed_bfloat16", False, 1),
        (gpus(1, 6, 1), "float32", True, 1),
        (gpus(1, 7, 0), "mixed_float16", True, 1),
        (gpus(1, 7, 5), "mixed_float16", True, 1),
        (gpus(1, 8, 0), "mixed_bfloat16", True, 1),
        (gpus(2, 9, 0), "mixed_bfloat16", True, 2),
        (gpus(1, 12, 0), "mixed_bfloat16", True, 1),
        (gpus(1), "float32", True, 1),
    ],
)
def test_auto(devices, precision, jit_compile, replicas):
    chosen = choose(devices)
    assert (chosen.precision, chosen.jit_compile, len(chosen.device_names)) == (precision, jit_compile, replicas)
    assert set(chosen.reasons) == {"precision", "jit_compile", "strategy"}


def test_it_says_what_was_picked_and_why():
    assert str(choose(CPU)) == "float32, no XLA, CPU:0 (auto: 1 CPU)"
    assert str(choose(BFLOAT16_CPU)) == "mixed_bfloat16, no XLA, CPU:0 (auto: 1 CPU with bfloat16 instructions)"
    assert str(choose(gpus(2, 9, 0))) == "mixed_bfloat16, XLA, 2 replicas (auto: 2 GPUs of compute capability 9.0)"
    given = choose(gpus(2, 9, 0), precision="float32", jit_compile=False, strategy="one_device")
    assert str(given) == "float32, no XLA, GPU:0"
    assert choose(CPU, precision="mixed_bfloat16").as_plain() == {
        "precision": "mixed_bfloat16",
        "jit_compile": False,
        "workers": 1,
        "replicas": 1,
        "devices": ["CPU:0"],
        "chosen_by_auto": {"jit_compile": "1 CPU", "strategy": "1 CPU"},
    }


@pytest.mark.parametrize(("model_type", "name"), [("bert", "hidden_size"), ("distilbert", "dim"), ("xlm", "emb_dim")])
def test_a_narrow_model_stays_in_float32_on_a_gpu(model_type, name):
    """But for GPUs without TF32, and CPUs whose bfloat16 costs no quality."""
    narrow, wide = {name: 480}, {name: 516}
    chosen = choose(gpus(1, 9, 0), model_type, narrow)
    assert (chosen.precision, chosen.jit_compile) == ("float32", True)
    assert chosen.reasons["precision"] == "1 GPU of compute capability 9.0, a hidden size of 480"
    assert choose(gpus(1, 9, 0), model_type, wide).precision == "mixed_bfloat16"
    assert choose(gpus(1, 9, 0), model_type, narrow, precision="mixed_bfloat16").precision == "mixed_bfloat16"
    assert choose(BFLOAT16_CPU, model_type, narrow).precision == "mixed_bfloat16"
    if model_type != "xlm":
        assert choose(gpus(1, 7, 5), model_type, narrow).precision == "mixed_float16"


def test_auto_takes_the_gpus_that_divide_a_batch():
    chosen = choose(gpus(3, 8, 0), batch_size=16)
    assert chosen.device_names == ("GPU:0", "GPU:1")
    assert "2 of which share batches of 16 evenly" in str(chosen)
    assert choose(gpus(8, 8, 0), batch_size=7).device_names == tuple(f"GPU:{number}" for number in range(7))
    assert choose(gpus(2, 8, 0), batch_size=1).device_names == ("GPU:0",)


def test_auto_falls_back_for_an_architecture_that_can_not():
    chosen = choose(gpus(1, 8, 0), "longformer")
    assert (chosen.precision, chosen.jit_compile) == ("float32", False)
    assert "longformer" in chosen.reasons["precision"]
    assert "longformer" in chosen.reasons["jit_compile"]
    esm = choose(gpus(1, 8, 0), "esm")
    assert (esm.precision, esm.jit_compile) == ("float32", True)
    assert choose(gpus(1, 8, 0), "esm", {"tie_word_embeddings": False}).precision == "mixed_bfloat16"
    deberta = choose(gpus(1, 8, 0), "deberta", {"relative_attention": True})
    assert (deberta.precision, deberta.jit_compile) == ("mixed_bfloat16", False)
    assert choose(gpus(1, 8, 0), "deberta").jit_compile
    assert choose(gpus(1, 8, 0), "deberta-v2", {"conv_kernel_size": 3}).precision == "float32"
    assert choose(gpus(1, 7, 0), "xlm").precision == "float32"
    assert choose(gpus(1, 8, 0), "xlm").precision == "mixed_bfloat16"
    assert choose(gpus(1, 8, 0), "funnel", {"attention_type": "factorized"}).precision == "float32"


@pytest.mark.parametrize("model_type", ["esm", "longformer"])
def test_a_graph_is_rewritten_whatever_the_architecture(model_type):
    """A policy would fail in the library's code."""
    assert choose(BFLOAT16_CPU, model_type).in_graph
    assert choose(BFLOAT16_CPU, model_type, precision="mixed_bfloat16").in_graph
    assert not choose(BFLOAT16_CPU, model_type, precision="float32").in_graph


def test_xla_s_graphs_are_not_rewritten():
    chosen = choose(BFLOAT16_CPU, jit_compile=True)
    assert (chosen.precision, chosen.in_graph) == ("float32", False)
    asked = choose(BFLOAT16_CPU, jit_compile=True, precision="mixed_bfloat16")
    assert (asked.precision, asked.in_graph) == ("mixed_bfloat16", False)
    with pytest.raises(ConfigError, match="mixed_bfloat16 for esm"):
        choose(BFLOAT16_CPU, "esm", jit_compile=True, precision="mixed_bfloat16")


@pytest.mark.parametrize(
    ("information", "expected"),
    [
        ("processor : 0\nflags\t\t: fpu avx512f avx512_bf16 fsrm\n", True),
        ("flags : avx2 amx_bf16", True),
        ("flags : fpu avx512f avx512_vnni\nbugs : avx512_bf16\n", False),
        ("Features : fp asimd bf16\n", False),
        (None, False),
    ],
)
def test_a_cpu_s_instructions(information, expected, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if information is not None:
        path.write_text(information)
    monkeypatch.setattr("components.training.devices.CPU_INFORMATION", path)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    assert cpu_multiplies_bfloat16() is expected
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert cpu_multiplies_bfloat16() is False


@pytest.mark.parametrize(
    ("devices", "params", "rule"),
    [
        (CPU, {"precision": "mixed_float16"}, "train.precision mixed_float16 on 1 CPU"),
        (gpus(1, 8, 0), {"precision": "mixed_bfloat16", "model_type": "esm"}, "mixed_bfloat16 for esm"),
        (gpus(1, 8, 0), {"precision": "mixed_float16", "model_type": "funnel"}, "mixed_float16 for funnel"),
        (gpus(1, 8, 0), {"jit_compile": True, "model_type": "longformer"}, "train.jit_compile true for longformer"),
        (CPU, {"strategy": "mirrored"}, "train.strategy mirrored on 1 CPU"),
        (gpus(1, 8, 0), {"strategy": "mirrored"}, "train.strategy mirrored on 1 GPU of compute capability 8.0"),
        (gpus(3, 8, 0), {"strategy": "mirrored"}, r"batches of 16 blocks \(train.batch_size\)"),
    ],
)
def test_refused(devices, params, rule):
    with pytest.raises(ConfigError, match=rule):
        choose(devices, **params)


def test_what_is_asked_for_is_taken():
    assert choose(gpus(4, 8, 0), strategy="mirrored", batch_size=8).device_names[-1] == "GPU:3"
    assert choose(gpus(1, 6, 0), precision="mixed_float16").precision == "mixed_float16"
    assert choose(CPU, jit_compile=True).jit_compile
    assert choose(gpus(1, 8, 0), jit_compile=False).jit_compile is False


def test_the_devices_here():
    devices = Devices.visible()
    assert devices.kind in ("CPU", "GPU")
    assert devices.names
    assert all(name.startswith(devices.kind) for name in devices.names)


def test_the_policy_holds_within_the_scope_only():
    def policy():
        return tf.keras.mixed_precision.global_policy().name

    half = Execution("mixed_bfloat16", False, ("CPU:0",), CPU, {})
    with half.scope():
        assert policy() == "mixed_bfloat16"
        assert tf.distribute.get_strategy().num_replicas_in_sync == 1
    assert policy() == "float32"
    with pytest.raises(ZeroDivisionError), half.scope():
        raise ZeroDivisionError
    assert policy() == "float32"


@pytest.mark.skipif(not Devices.visible().bfloat16, reason="no CPU that multiplies bfloat16")
def test_products_are_rewritten_within_the_scope_only():
    """1 + 2^-10 has more digits than bfloat16; a sum keeps them."""
    near_one = tf.fill((32, 32), 1.0 + 2.0**-10)

    def products_and_sum():
        product = tf.function(lambda: tf.matmul(near_one, tf.eye(32)))()
        total = tf.function(lambda: tf.reduce_sum(near_one[0, :1]))()
        return float(product[0, 0]), float(total)

    execution = Execution("mixed_bfloat16", False, ("CPU:0",), BFLOAT16_CPU, {})
    with execution.scope():
        assert products_and_sum() == (1.0, 1.0 + 2.0**-10)
        assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert products_and_sum() == (1.0 + 2.0**-10, 1.0 + 2.0**-10)
