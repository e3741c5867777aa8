"""A DNS server that forwards all queries, like NodeLocal DNSCache. `forward_dns.py ADDRESS UPSTREAM`."""

from __future__ import annotations

import socket
import socketserver
import sys


class Handler(socketserver.BaseRequestHandler):
    """Forwards one query over UDP."""

    def handle(self) -> None:
        question, own = self.request
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as upstream:
            upstream.settimeout(4)
            upstream.sendto(question, (sys.argv[2], 53))
            own.sendto(upstream.recv(65535), self.client_address)


if __name__ == "__main__":
    with socketserver.ThreadingUDPServer((sys.argv[1], 53), Handler) as server:
        server.serve_forever()
