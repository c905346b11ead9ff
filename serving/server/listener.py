"""The socket that the server listens on, bound before the model loads so that a taken port is an error at once."""

import errno
import os
import socket
from pathlib import Path

from foundation.errors import ConfigError, ServingError

LONGEST_SOCKET_PATH = 107
"""In bytes: the system's own limit."""


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


def check_socket_path(path: str) -> None:
    """Refuses a path at which no Unix socket can be made. What an ended server left there is replaced.

    Raises:
        ConfigError: Saying what stands in the way.
    """
    place = Path(path)
    if not 0 < len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        problem = f"{len(os.fsencode(path))} bytes"
    elif not place.parent.is_dir():
        problem = f"{place.parent}, which is no directory"
    elif place.exists() and not place.is_socket():
        problem = f"{path}, which is something else than a socket"
    else:
        return
    raise ConfigError(
        f"--grpc-socket-path must be a path of 1 to {LONGEST_SOCKET_PATH} bytes in a directory that exists, where "
        "nothing is yet but an old socket",
        received=problem,
        remedy="try --grpc-socket-path /tmp/grpc.sock",
    )


def no_address(host: str, error: Exception) -> ConfigError:
    """The error of a host that is not this machine."""
    return ConfigError(
        "--host must be an address of this machine", received=f"{host}: {error}", remedy="try --host 127.0.0.1"
    )


def port_taken(address: str, error: OSError, option: str = "--port") -> ServingError:
    """The error of an address that can't be listened on."""
    any_free = "" if option == "--grpc-socket-path" else " (0 takes any free one)"
    return ServingError(
        "the server's address and port must be free",
        received=f"{address}: {error.strerror or error}",
        remedy=f"stop what listens there, or choose another {option}{any_free}",
    )
