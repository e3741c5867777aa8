"""The socket of the HTTP server: one for IPv6 and IPv4, like gRPC's."""

from __future__ import annotations

import errno
import socket

_EVERY_ADDRESS = ("0.0.0.0", "::")
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_BACKLOG = 2048  # uvicorn's


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`.

    `0.0.0.0` and `::` both mean all addresses of IPv4 and IPv6; of IPv4 only, if the kernel has no IPv6.

    :raises OSError: if the port is in use, or the host is not an address of this machine.
    """
    one = _bound(host, port)
    # Connections inherit the option. asyncio sets it only on sockets that it creates, and without it an answer waits
    # about 40 ms for the acknowledgement of its headers.
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
