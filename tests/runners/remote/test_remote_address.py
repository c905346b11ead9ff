"""What is refused before any work, with the way out."""

import sys

import pytest
from fsspec.registry import _registry

from foundation.errors import ConfigError
from pipeline import main
from runners.remote import opening
from runners.remote.address import STAGING, is_remote, parse_address, staging_of
from runners.remote.opening import open_store
from runners.remote.root import open_root
from tests.spoiling_proxy import SpoilingProxy


def test_what_an_address_says():
    address = parse_address("s3://bucket/some//prefix/")
    assert (address.protocol, address.bucket, address.prefix) == ("s3", "bucket", "some/prefix")
    assert str(address) == "s3://bucket/some/prefix"
    assert str(parse_address("s3a://bucket")) == "s3://bucket"


def test_a_path_is_no_address(tmp_path):
    assert not is_remote("pipeline_root")
    assert not is_remote(tmp_path)
    assert is_remote("s3://bucket/prefix")
    assert is_remote("s3:bucket/prefix")  # and no directory of that name is begun
    assert str(parse_address("s3:bucket/prefix")) == "s3://bucket/prefix"
    assert not is_remote("notes:first")


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("ftp://host/x", "ftp://"),
        ("hf://user/model", "push.hub_model_id"),
        ("file:///tmp/x", "without file://"),
        ("s3://key:secret@bucket/x", "AWS_PROFILE"),
        ("s3://bucket/x?token=secret", "not shown here"),
        ("s3://bucket/../x", "none of them"),
        ("s3:///", "must name a bucket"),
    ],
)
def test_wrong_addresses_are_refused_without_their_secrets(root, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--root", root, "--plan"]) == 2
    said = capsys.readouterr()
    assert words in " ".join((said.out + said.err).split())
    assert "secret" not in said.out + said.err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"masked-lm-pipeline\[gcs\]"):
        parse_address("gs://bucket/x")


def test_a_package_that_can_not_be_imported_is_refused_with_the_reason(monkeypatch, tmp_path):
    (tmp_path / "s3fs.py").write_text("raise ImportError('a part is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "s3fs", raising=False)
    opening._file_system.cache_clear()
    monkeypatch.delitem(_registry, "s3", raising=False)
    message = refused("s3://bucket/x")
    assert "s3:// must be usable. Received: a part is missing" in message


def refused(address):
    with pytest.raises(ConfigError) as caught:
        open_store(parse_address(address), to_write=True)
    return str(caught.value)


def test_no_such_bucket(address):
    assert "no bucket other-bucket" in refused("s3://other-bucket/x")


def test_no_credentials(address, monkeypatch, tmp_path):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "must have credentials" in refused(address)


def test_an_unknown_profile(address, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "AWS_PROFILE" in refused(address)


def test_no_server_there(address, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert "must answer" in refused(address)


def test_no_permission_to_write(address, s3, monkeypatch):
    with SpoilingProxy(s3.port) as proxy:
        proxy.forbidden = {"PUT"}
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        assert "s3:PutObject" in refused(address)


def test_nothing_to_list_where_no_pipeline_has_run(address, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(STAGING, str(tmp_path))
    assert main(["--root", address, "--list"]) == 2
    assert "root.json" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["without_headers", "not_implemented"])
def test_a_store_without_conditional_writes_is_said_once(how, address, s3, monkeypatch, tmp_path):
    monkeypatch.setenv(STAGING, str(tmp_path))
    with SpoilingProxy(s3.port) as proxy:
        setattr(proxy, how, {"if-none-match"})
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        said: list[str] = []
        with open_root(address, show=said.append) as root, root.leases.hold("artifacts", "a test"):
            pass
    assert len(said) == 1
    assert "conditional writes" in said[0]


def test_a_server_that_only_says_that_a_condition_failed(address, s3, monkeypatch, tmp_path):
    monkeypatch.setenv(STAGING, str(tmp_path))
    with SpoilingProxy(s3.port) as proxy:
        proxy.without_condition = True
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        said: list[str] = []
        with open_root(address, show=said.append):
            pass
    assert said == []


def test_the_staging_directory_is_told_by_address_and_root(tmp_path, monkeypatch):
    monkeypatch.setenv(STAGING, str(tmp_path))
    one, other = parse_address("s3://bucket/one"), parse_address("s3://bucket/other")
    assert len({staging_of(one, "a"), staging_of(one, "b"), staging_of(other, "a")}) == 3
    assert staging_of(one, "a") == staging_of(one, "a")
    assert staging_of(one, "a").parent == tmp_path


def test_a_staging_directory_that_cannot_be_written(address, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(STAGING, str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=STAGING), open_root(address):
        pass
