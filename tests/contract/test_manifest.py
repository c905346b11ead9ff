"""A manifest answers for itself: whichever of its bits turns over, it isn't taken for what was written."""

import json

import pytest

from components.contract import manifest
from foundation.errors import ArtifactError


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "text").write_text("content")
    facts = {"type": "Text", "component": "write", "version": "1", "key": "0" * 64, "params": {"rate": 1e-05}}
    manifest.write(tmp_path, {**facts, "inputs": {}, "sources": {}})
    return tmp_path


def test_every_bit_of_a_manifest_counts(artifact):
    path = artifact / manifest.NAME
    written, content = path.read_bytes(), manifest.read(artifact)
    used = []
    # The end holds its own digest; of the rest, some.
    bits = 8 * len(written)
    for bit in [*range(0, bits, 11), *range(bits - 8 * 100, bits)]:
        flipped = bytearray(written)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            found = manifest.read(artifact)
        except ArtifactError:
            continue
        if found != content:
            used.append((bit, written[max(0, bit // 8 - 20) : bit // 8 + 20]))
    assert not used


@pytest.mark.parametrize("text", ["[]", "{}", "null", "3", '"a"', "[" * 100_000, "\xff"])
def test_what_is_no_manifest_is_damaged(artifact, text):
    (artifact / manifest.NAME).write_text(text, "latin-1")
    with pytest.raises(ArtifactError, match="must be those that were written"):
        manifest.read(artifact)


def test_a_manifest_of_an_earlier_version_has_no_digest_of_its_own(artifact):
    content = manifest.read(artifact)
    del content[manifest.OWN_DIGEST]
    (artifact / manifest.NAME).write_text(json.dumps(content))
    assert manifest.read(artifact) == content
