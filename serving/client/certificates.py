"""Whom a client trusts where its connection is encrypted."""

import ssl
from pathlib import Path

from foundation.errors import ConfigError


def read_authorities(path: str | Path | None) -> bytes | None:
    """The certificates in a file, as PEM; None without a file, for those that the system trusts.

    Raises:
        ConfigError: If the file has none.
    """
    if path is None:
        return None
    try:
        content = Path(path).read_bytes()
        ssl.create_default_context(cadata=content.decode("ascii"))
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ConfigError(
            "--ca-file must be a file with certificates in PEM",
            received=f"{path}: {getattr(error, 'strerror', None) or error}",
            remedy="give the certificate of the authority that signed the server's, or the server's own",
        ) from error
    return content


def context(authorities: bytes | None) -> ssl.SSLContext:
    """What httpx verifies a server's certificate with."""
    return ssl.create_default_context(cadata=None if authorities is None else authorities.decode("ascii"))
