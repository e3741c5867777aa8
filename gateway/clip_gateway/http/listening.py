"""The socket that HTTP listens on: one for IPv6 and IPv4, as gRPC's own is."""

from __future__ import annotations

import errno
import socket

_EVERY_ADDRESS = ("0.0.0.0", "::")
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_BACKLOG = 2048  # uvicorn's


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`.

    Every address is every address of both families, however it is spelt; of IPv4 alone where the kernel has no IPv6.

    :raises OSError: the port is taken, or the host is none of this machine.
    """
    one = _bound(host, port)
    # Connections inherit it. asyncio sets it on sockets that it makes alone, and without it an answer waits some 40 ms
    # for the acknowledgement of its headers.
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def _bound(host: str, port: int) -> socket.socket:
    if host not in _EVERY_ADDRESS:
        ((family, *_, address), *_) = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)
