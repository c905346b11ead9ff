"""The configurations that come along, each run on a file from a Hub on loopback that has a tiny model by its name."""

import json
import subprocess
import sys

import pytest
from huggingface_hub import HfApi
from safetensors.numpy import load_file, save_file

from components.config.command_line import config_of, parse
from components.config.config_files import CONFIGS, config_path, described_configs
from foundation.errors import ConfigError
from runners.command_line.options import build_parser
from tests.loopback_hub.fixtures import running_hub  # noqa: F401 (a fixture)
from tests.loopback_hub.small_artifacts import bpe
from tests.modeling.tiny_models import EVERY_MODEL

TEXTS = [f"The {animal} saw a {thing} near the river, and it was happy." for animal in ("cat", "dog", "fox", "owl")
         for thing in ("tree", "house", "boat", "stone", "bird", "fish", "road")]  # fmt: skip
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}


def word_piece():
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    backend = BertWordPieceTokenizer()
    backend.train_from_iterator(TEXTS, vocab_size=200, show_progress=False)
    return BertTokenizerFast(tokenizer_object=backend._tokenizer, model_max_length=512)


def unigram(kind, special, unknown):
    from tokenizers import SentencePieceUnigramTokenizer, processors

    backend = SentencePieceUnigramTokenizer()
    backend.train_from_iterator(TEXTS, vocab_size=200, special_tokens=special, unk_token=unknown, show_progress=False)
    pair = [(name, backend.token_to_id(name)) for name in (special[0], special[2])]
    backend._tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A {special[2]}",
        pair=f"{special[0]} $A {special[2]} $B {special[2]}",
        special_tokens=pair,
    )
    return kind(tokenizer_object=backend._tokenizer, model_max_length=512)


def xlm_roberta():
    from transformers import XLMRobertaTokenizerFast

    return unigram(XLMRobertaTokenizerFast, SPECIAL, "<unk>")


def deberta():
    from transformers import DebertaV2TokenizerFast

    return unigram(DebertaV2TokenizerFast, ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"], "[UNK]")


RELATIVE = {"relative_attention": True, "position_buckets": 8, "norm_rel_ebd": "layer_norm", "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"], "position_biased_input": False, "type_vocab_size": 0,
            "max_position_embeddings": 512}  # fmt: skip
FAMILIES = {
    "domain-bert": ("bert", word_piece, {}),
    "domain-roberta": ("roberta", bpe, {"max_position_embeddings": 514}),
    "domain-xlmr": ("xlm-roberta", xlm_roberta, {"max_position_embeddings": 514}),
    "domain-deberta-v3": ("deberta-v2", deberta, RELATIVE),
    "modernbert": ("modernbert", bpe, {"pad_token_id": 1, "max_position_embeddings": 1024}),
    "eli5": ("roberta", bpe, {"max_position_embeddings": 514}),
}


def upload(hub, repo_id, folder, family):
    """A tiny model of a family, with PyTorch's weights; DeBERTa's without the head, as the real one."""
    from transformers import DebertaV2Config, TFDebertaV2ForMaskedLM

    from components.modeling.checkpoint import build_masked_lm
    from components.modeling.pytorch_weights import save_pytorch_weights

    model_type, make_tokenizer, sizes = family
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder)
    if model_type != "deberta-v2":
        save_pytorch_weights(build_masked_lm(model_type, SIZES | sizes, tokenizer, seed=1), folder)
    else:
        model = TFDebertaV2ForMaskedLM(DebertaV2Config(vocab_size=len(tokenizer), **SIZES, **sizes))
        model.build_in_name_scope()
        save_pytorch_weights(model, folder)
        tensors = load_file(folder / "model.safetensors")
        kept = {name: value for name, value in tensors.items() if name.startswith("deberta.")}
        assert len(kept) < len(tensors)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    hub.create(repo_id)
    hub.accounts["hf_owner"] = type(next(iter(hub.accounts.values())))(repo_id.partition("/")[0])
    HfApi(token="hf_owner").upload_folder(repo_id=repo_id, folder_path=folder)


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("\n".join(TEXTS * 4))
    return path


def test_every_configuration_is_named_with_a_line_and_says_the_same_of_itself():
    assert {"quickstart", "eli5", "new-language", *FAMILIES} == set(described_configs())
    for name, subject in described_configs().items():
        header = (CONFIGS / f"{name}.yaml").read_text("utf-8").split("\n\n")[0]
        assert 20 < len(subject) < 115, subject
        for part in (
            "Command:",
            f"--config {name}" if name != "quickstart" else "--runner local",
            "Duration:",
            "Expected:",
        ):
            assert part in header
        assert f"  {name} " in build_parser().format_help()
        assert subject in build_parser().format_help()


@pytest.mark.parametrize("name", sorted({*FAMILIES, "new-language"} - {"eli5"}))
def test_one_that_is_for_anyones_text_asks_for_it(name):
    with pytest.raises(ConfigError, match=r"ingest\.path must name .*yaml, line \d+.*--ingest\.path"):
        config_of(parse(build_parser(), [], config_path(name)))
    options = parse(build_parser(), ["--ingest.dataset", "some/data"], config_path(name))
    config = config_of(options)
    assert (config.ingest.path, config.ingest.dataset, options.notes) == (None, "some/data", [])
    assert config.tokenizer.pretrained == config.train.pretrained


TRIED = [*FAMILIES, "new-language"] if EVERY_MODEL else ["domain-deberta-v3", "new-language"]
"""The others differ from these in what they name, which the test above reads; with EVERY_MODEL=1 they run as well."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TRIED)
def test_it_runs_from_a_file_to_a_served_model(name, hub, notes, tmp_path):
    small = ["--train.max_steps", "3", "--push.allow_unblessed", "true", "--preprocess.block_size", "32"]
    if name == "new-language":
        small += ["--train.model_config", json.dumps({"embedding_size": 16, "max_position_embeddings": 64, **SIZES})]
    else:
        repo_id = config_of(parse(build_parser(), ["--ingest.path", str(notes)], config_path(name))).train.pretrained
        upload(hub, repo_id, tmp_path / "repository", FAMILIES[name])
    root = tmp_path / "root"
    command = [sys.executable, "-m", "pipeline", "--runner", "local", "--config", name, "--root", str(root)]
    # A process of its own: transformers reads once, when it is imported, where the Hub is, and whether to ask it.
    ran = subprocess.run([*command, "--ingest.path", str(notes), *small], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    model = config_path(name).stem.replace("-", "_") if name != "eli5" else "eli5_mlm"
    assert (root / "serving" / model / "1" / "saved_model.pb").is_file()
    example = (root / "serving" / model / "1" / "assets.extra/example.txt").read_text("utf-8")
    assert "saw" in example  # whatever the configuration's own example
