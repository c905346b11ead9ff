"""A tokenizer, and blocks of chance to ask an exported form about."""

import numpy as np
import pytest

from tests.loopback_hub.small_artifacts import bpe
from tests.written_blocks import write_blocks


@pytest.fixture(scope="package")
def tokenizer():
    return bpe()


@pytest.fixture(scope="package")
def blocks(tokenizer, tmp_path_factory):
    ids = np.random.default_rng(0).integers(5, len(tokenizer), (60, 32)).astype(np.int32)
    return write_blocks(tmp_path_factory.mktemp("blocks"), ids, ids)
