"""The usage examples in the docstrings of the components' public classes run as they stand."""

from pathlib import Path

import datasets
import numpy as np
import pytest

from components.blocks.text_column import TextReader
from components.blocks.writer import BlockWriter
from components.config import command_line, config_files, pipeline_config
from components.contract.artifacts import Corpus
from components.contract.manifest import digest_of, digest_of_file
from components.hub.access import HubTarget
from components.hub.repository import HubRepository
from components.hub.seal import seal
from components.publishing.serving_directory import publish
from components.sources.embedded import EmbeddedCorpus
from components.sources.local import LocalFiles
from tests.docstring_examples import run_example
from tests.loopback_hub.fixtures import running_hub  # noqa: F401 (a fixture)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory, with one for caches in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cache").mkdir()
    return tmp_path


def test_local_files(here):
    (here / "data").mkdir()
    for name, number in (("a", 1), ("b", 2)):
        (here / f"data/{name}.jsonl").write_text(f'{{"a":{number}}}\n')
    names = run_example(LocalFiles, {"LocalFiles": LocalFiles, "cache": here / "cache"})
    assert {name: digest[:8] for name, digest in names["digests"].items()} == {
        "a.jsonl": "e3464320",
        "b.jsonl": "0f117a2a",
    }
    assert names["records"]["a"] == [1, 2]


@pytest.mark.slow
def test_the_embedded_corpus(here):
    names = run_example(EmbeddedCorpus, {"EmbeddedCorpus": EmbeddedCorpus, "cache": here / "cache"})
    assert 5_000 < len(names["records"]) < 11_000


def test_a_text_reader(here, capsys):
    rows = datasets.Dataset.from_dict({"answers": [{"text": ["a b", "c"]}, {"text": []}]})
    datasets.DatasetDict(train=rows, test=rows).save_to_disk(here / "corpus/dataset")
    run_example(TextReader, {"TextReader": TextReader, "corpus": Corpus(here / "corpus")})
    assert capsys.readouterr().out == "1 texts in 2 records so far\n"


def test_a_block_writer(here):
    names = run_example(BlockWriter, {"BlockWriter": BlockWriter, "Path": Path, "np": np, "datasets": datasets})
    assert names["dataset"].column_names == ["input_ids", "attention_mask"]
    assert names["dataset"][1]["input_ids"] == list(range(8, 16))


def test_a_configuration():
    config = run_example(pipeline_config.Config, {**vars(command_line), **vars(config_files)})["config"]
    assert (config.train.epochs, config.preprocess.block_size) == (1, 64)


def test_publishing(here, capsys):
    saved_model = here / "model"
    (saved_model / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/variables.index"):
        (saved_model / name).write_text(name)
    names = {"publish": publish, "Path": Path, "digest_of": digest_of, "digest_of_file": digest_of_file}
    run_example(publish, {**names, "saved_model": saved_model})
    assert capsys.readouterr().out == "serving/fill_mask/1\n"
    assert (here / "serving/fill_mask/1/variables/variables.index").is_file()


def test_a_repository(hub, here):
    (here / "folder").mkdir()
    (here / "folder/README.md").write_text("---\nlicense: mit\n---\n")
    names = {"HubRepository": HubRepository, "HubTarget": HubTarget, "seal": seal, "folder": here / "folder"}
    url = run_example(HubRepository, names, {"me/": "ada/"})["url"]
    assert url.startswith(f"{hub.endpoint}/ada/my-model/tree/")
