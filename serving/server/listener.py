"""The socket that the server listens on, bound before the model loads so that a taken port is an error at once."""

import errno
import socket

from foundation.errors import ConfigError, ServingError


def bind(host: str, port: int) -> socket.socket:
    """A socket bound to an address, 0 being any free port. It doesn't listen: until then clients are refused.

    Raises:
        ServingError: If the port is taken.
        ConfigError: If the host is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise no_address(host, error) from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise no_address(host, error) from error
        raise port_taken(f"{host}:{port}", error) from error
    return listener


def no_address(host: str, error: Exception) -> ConfigError:
    """The error of a host that is not this machine."""
    return ConfigError(
        "--host must be an address of this machine", received=f"{host}: {error}", remedy="try --host 127.0.0.1"
    )


def port_taken(address: str, error: OSError, option: str = "--port") -> ServingError:
    """The error of an address that can't be listened on."""
    return ServingError(
        "the server's address and port must be free",
        received=f"{address}: {error.strerror or error}",
        remedy=f"stop what listens there, or choose another {option} (0 takes any free one)",
    )
