"""A baseline that is named: what can't answer is refused before training."""

import pytest

from components.contract.push_record import PushedTo
from components.evaluation.baseline import find_baseline
from foundation.errors import ModelError


def test_a_folder_that_cannot_answer_is_refused(tmp_path):
    places = PushedTo(str(tmp_path / "nowhere"))

    def refused(said):
        with pytest.raises(ModelError, match=rf"evaluate\.baseline must .*{said}.*--evaluate\.baseline; null"):
            find_baseline(str(tmp_path), places, "mine")

    refused("has none")
    (tmp_path / "config.json").write_text("{}")
    refused("has none of them")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    refused("has no tokenizer")
    (tmp_path / "tokenizer.json").write_text("{}")
    found = find_baseline(str(tmp_path), places, "mine")
    assert found is not None
    assert found.checkpoint == str(tmp_path)
