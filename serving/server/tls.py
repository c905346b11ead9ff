"""Encrypted connections: TensorFlow Serving's SSL configuration file, for gRPC and for REST."""

import dataclasses
import os
import ssl
import tempfile
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from serving.server import text_protos


@dataclasses.dataclass(frozen=True)
class Tls:
    """A certificate, and whose clients' certificates are asked for. All are texts in PEM.

    Attributes:
        key: The server's private key.
        certificate: Its certificate, with those between it and the root.
        authorities: The certificates that clients' must be signed by; empty for the system's.
        verifies_clients: Whether a client must have a certificate.
    """

    key: bytes
    certificate: bytes
    authorities: bytes = b""
    verifies_clients: bool = False

    def context(self) -> ssl.SSLContext:
        """It for HTTP.

        Raises:
            ssl.SSLError: If key and certificate aren't a pair.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # Python reads keys from files only; this one is the user's own, and gone in a moment.
        handle, name = tempfile.mkstemp(suffix=".pem")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.key.rstrip() + b"\n" + self.certificate)
            context.load_cert_chain(name)
        finally:
            os.unlink(name)
        if self.verifies_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            if self.authorities:
                context.load_verify_locations(cadata=self.authorities.decode("ascii"))
            else:
                context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return context

    def credentials(self) -> Any:
        """It for gRPC."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key, self.certificate)],
            root_certificates=self.authorities or None,
            require_client_auth=self.verifies_clients,
        )


def read(option: str, path: Path) -> Tls:
    """An SSL configuration file: `server_key`, `server_cert`, `custom_ca` (each a text in PEM), `client_verify`.

    Raises:
        ConfigError: If it can't be read, or its key and certificate aren't a pair.
    """
    message = text_protos.read(option, path, text_protos.CLASSES["SSLConfig"]())
    tls = Tls(
        message.server_key.encode(), message.server_cert.encode(), message.custom_ca.encode(), message.client_verify
    )
    if not tls.key or not tls.certificate:
        problem = "no server_key" if not tls.key else "no server_cert"
    elif tls.verifies_clients and not tls.authorities:
        # gRPC refuses it, and so does TensorFlow Serving when it starts.
        problem = "client_verify without custom_ca"
    else:
        try:
            tls.context()
            return tls
        except (ssl.SSLError, UnicodeDecodeError) as error:
            problem = str(error)
    raise ConfigError(
        f"{option} must have a server_key and the server_cert that belongs to it, as texts in PEM, and with "
        "client_verify a custom_ca",
        received=f"{path}: {problem}",
        remedy="write the contents of the files, with \\n for each line's end, not their paths",
    )
