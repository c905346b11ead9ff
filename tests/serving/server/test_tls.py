"""Encrypted connections, from the configuration file to both clients."""

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from foundation.errors import ConfigError, ServingError
from serving.client.grpc_transport import GrpcTransport
from serving.client.rest_transport import RestTransport
from serving.client.waiting import run_at_once
from serving.server.tls import read

# Signed by itself, for 127.0.0.1 and localhost; the key is public, and secures nothing but these tests.
CERTIFICATES = Path(__file__).with_name("certificates")
KEY, CERTIFICATE = (CERTIFICATES / "key.pem").read_text(), (CERTIFICATES / "certificate.pem").read_text()


def write(path: Path, **fields: str | bool) -> Path:
    lines = (f"{name}: {str(value).lower() if type(value) is bool else repr(value)}" for name, value in fields.items())
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def at(example_version: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from serving.server.models.served_models import load
    from serving.server.server import Access, running

    path = write(tmp_path_factory.mktemp("tls") / "ssl.config", server_key=KEY, server_cert=CERTIFICATE)
    tls = read("--ssl-config-file", path)
    model = load(example_version.parent)
    with running([model], access=Access(grpc_tls=tls, rest_tls=tls)) as addresses:
        yield addresses
    model.close()


def test_rest_is_encrypted(at: Any) -> None:
    context = ssl.create_default_context(cadata=CERTIFICATE)
    answer = httpx.post(f"{at.rest}/v1/models/m:predict", json={"instances": [3]}, verify=context, trust_env=False)
    assert answer.json() == {"predictions": [3.5]}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{at.rest}/v1/models/m", trust_env=False)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{at.rest.replace('https', 'http')}/v1/models/m", trust_env=False)


def test_both_clients_ask_an_encrypted_server(at: Any) -> None:
    for transport in (
        RestTransport(at.rest, "m", 10.0, 0, authorities=CERTIFICATE.encode()),
        GrpcTransport(f"grpcs://{at.grpc}", "m", 10.0, 0, authorities=CERTIFICATE.encode()),
    ):
        assert "serving_default" in run_at_once(transport.signature_names())
        run_at_once(transport.close())
    for stranger in (RestTransport(at.rest, "m", 5.0, 0), GrpcTransport(f"grpcs://{at.grpc}", "m", 5.0, 0)):
        with pytest.raises(ServingError, match=r"certificate must be signed by .* with --ca-file"):
            run_at_once(stranger.signature_names())
        run_at_once(stranger.close())


def test_a_client_without_a_certificate_is_refused_where_one_is_asked_for(
    example_version: Path, tmp_path: Path
) -> None:
    from serving.server.models.served_models import load
    from serving.server.server import Access, running

    fields = {"server_key": KEY, "server_cert": CERTIFICATE, "custom_ca": CERTIFICATE, "client_verify": True}
    tls = read("--ssl-config-file", write(tmp_path / "ssl.config", **fields))
    model = load(example_version.parent)
    context = ssl.create_default_context(cadata=CERTIFICATE)
    with running([model], access=Access(grpc_tls=tls, rest_tls=tls)) as at:
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{at.rest}/v1/models/m", verify=context, trust_env=False)
        stranger = grpc.ssl_channel_credentials(CERTIFICATE.encode())
        with grpc.secure_channel(at.grpc, stranger) as channel, pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=1)
        context.load_cert_chain(CERTIFICATES / "certificate.pem", CERTIFICATES / "key.pem")
        assert httpx.get(f"{at.rest}/v1/models/m", verify=context, trust_env=False).status_code == 200
    model.close()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "no server_key"),
        ({"server_key": KEY}, "no server_cert"),
        ({"server_key": "key.pem", "server_cert": "certificate.pem"}, "PEM"),
        ({"server_key": KEY, "server_cert": CERTIFICATE, "client_verify": True}, "client_verify without custom_ca"),
        ({"server_key": KEY, "server_cert": CERTIFICATE, "custom_ca": "x", "client_verify": True}, "PEM"),
        ({"key": KEY}, 'no field named "key"'),
    ],
)
def test_a_configuration_that_encrypts_nothing_is_refused(tmp_path: Path, fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read("--ssl-config-file", write(tmp_path / "ssl.config", **fields))


def test_certificates_that_are_none_are_refused(tmp_path: Path) -> None:
    from serving.client.fill_mask_client import FillMaskClient

    (tmp_path / "x").write_text("no certificate")
    for path in (tmp_path / "x", tmp_path / "none", CERTIFICATES):
        with pytest.raises(ConfigError, match="--ca-file must be a file with certificates"):
            FillMaskClient("https://127.0.0.1:1", ca_file=path)
