"""A checkpoint fetched from a real Hub server on loopback, by the files that loading reads and no other."""

import numpy as np
import pytest
from huggingface_hub import HfApi, constants, file_download
from huggingface_hub.utils import reset_sessions
from safetensors.numpy import load_file, save_file
from transformers import RobertaConfig, TFRobertaForMaskedLM

from components.contract.artifacts import Blocks, Tokenizer
from components.contract.manifest import write_json
from components.hub.checkpoints import checkpoint_directory, config_directory
from components.hub.reading import resolve_revision
from components.modeling.checkpoint import load_masked_lm
from components.modeling.configuration import load_config
from components.modeling.pytorch_weights import pytorch_weights
from components.train import Train
from components.training.params import TrainParams
from foundation.errors import HubError, ModelError
from tests.loopback_hub.server import Account, serve
from tests.modeling.pytorch_pickles import write_archive

SIZES = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
IDS = np.arange(5, 17)[None]


@pytest.fixture
def model(tmp_path):
    """A model, and its folder with weights in two shards, a pickle and notes."""
    model = TFRobertaForMaskedLM(RobertaConfig(vocab_size=40, **SIZES))
    model.build_in_name_scope()
    folder = tmp_path / "folder"
    model.save_pretrained(folder, safe_serialization=True)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {
        name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(sorted(tensors))
    }
    for shard in sorted(set(weight_map.values())):
        part = {name: tensors[name] for name in tensors if weight_map[name] == shard}
        save_file(part, folder / shard, metadata={"format": "tf"})
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    (folder / "pytorch_model.bin").write_bytes(b"left out")
    (folder / "notes.txt").write_text("left out")
    return model


@pytest.fixture
def repository(model, tmp_path, monkeypatch):
    """A hub with the model in `ada/tiny`, and an empty cache on this side."""
    with serve(tmp_path / "hub") as hub:
        hub.accounts["hf_ada"] = Account("ada")
        monkeypatch.setenv("HF_TOKEN", "hf_ada")
        # The library reads its environment once, when it is imported, and one module keeps a copy of the addresses.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        addresses = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", addresses)
        reset_sessions()
        hub.create("ada/tiny")
        HfApi().upload_folder(repo_id="ada/tiny", folder_path=tmp_path / "folder")
        hub.journal.clear()
        yield hub
    reset_sessions()


def test_loading_downloads_what_it_reads(repository, model, tmp_path):
    loaded = load_masked_lm(checkpoint_directory("ada/tiny"))
    np.testing.assert_array_equal(loaded(IDS).logits, model(IDS).logits)
    commit = resolve_revision("ada/tiny")
    files = {path.name for path in (tmp_path / "cache/models--ada--tiny/snapshots" / commit).iterdir()}
    shards = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert files == {"config.json", "model.safetensors.index.json"} | shards


def test_a_cached_commit_is_not_fetched_again(repository, model):
    commit = resolve_revision("ada/tiny", revision="main")
    load_masked_lm(checkpoint_directory("ada/tiny", commit))
    repository.journal.clear()
    np.testing.assert_array_equal(
        load_masked_lm(checkpoint_directory("ada/tiny", commit))(IDS).logits, model(IDS).logits
    )
    assert not repository.journal


def test_the_configuration_alone_downloads_no_weights(repository):
    assert load_config(config_directory("ada/tiny")).model_type == "roberta"
    assert not [request for request in repository.journal if "safetensors" in request.path]


def test_refusals(repository):
    with pytest.raises(HubError, match="the Hub must have the model"):
        load_masked_lm(checkpoint_directory("ada/nothing"))
    with pytest.raises(HubError, match="a revision must be a branch, tag or commit"):
        load_masked_lm(checkpoint_directory("ada/tiny", "no-such-branch"))
    repository.create("ada/empty")
    with pytest.raises(ModelError, match=r"a checkpoint must be a config\.json with weights"):
        load_masked_lm(checkpoint_directory("ada/empty"))


def test_a_pickle_is_downloaded_where_there_is_nothing_else(model, repository, tmp_path):
    folder = tmp_path / "pickle"
    model.config.save_pretrained(folder)
    write_archive(folder / "pytorch_model.bin", pytorch_weights(model)[0])
    repository.create("ada/pickle")
    HfApi().upload_folder(repo_id="ada/pickle", folder_path=folder)
    repository.journal.clear()
    Train(Blocks(None), Tokenizer(None), TrainParams(pretrained="ada/pickle")).preflight()
    assert not [request for request in repository.journal if "resolve" in request.path and ".json" not in request.path]
    loaded = load_masked_lm(checkpoint_directory("ada/pickle"))
    np.testing.assert_array_equal(loaded(IDS).logits, model(IDS).logits)
