"""Which names of this server a request may use.

A page of a stranger's site can have its own name point to this machine (DNS rebinding): the browser then takes this
server for that site, and lets the page read its answers. Such a request has the stranger's name in `Host`.
"""

import ipaddress
from collections.abc import Collection


def is_allowed(host: str, allowed: Collection[str]) -> bool:
    """Whether a `Host` header names this server: by an address, by a name without a dot, or by one that is allowed.

    Names without a dot, such as `localhost` or those in a compose file, are only given out by one's own network.

    Args:
        host: The header's value, with or without a port; empty where there is no header.
        allowed: Further names; one that begins with a dot stands for all below it, and `*` for every name.
    """
    name = host.strip().lower()
    if name.startswith("["):
        return is_address(name[1:].partition("]")[0])
    name = name.partition(":")[0].rstrip(".")
    if "." not in name or name.endswith(".localhost") or is_address(name):
        return True
    return any(one in ("*", name) or (one.startswith(".") and name.endswith(one)) for one in map(str.lower, allowed))


def is_address(text: str) -> bool:
    """Whether it's an IP address, which no site can be named by."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
