"""Scrapers that are slow or many are nobody else's problem."""

import resource
import socket
import time

from support import wait_for


def crowd(port, n):
    """n connections that never finish a request: silent ones, slow ones, ones that do not read."""
    texts = [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]
    sockets = []
    for i in range(n):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.settimeout(5)
        connection.connect(("127.0.0.1", port))
        connection.sendall(texts[i % len(texts)])
        sockets.append(connection)
    return sockets


def test_a_thousand_idle_connections_hold_up_nothing(everleaf, ca):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2048:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    everleaf.certificate("www").listen()
    agent = everleaf.agent()
    agent.wait_for(lambda: everleaf.generation() == 1)
    sockets = crowd(everleaf.listen_port, 1000)
    try:
        began = time.monotonic()
        assert everleaf.renew("--force", "www").one["result"] == "renewed"
        assert time.monotonic() - began < 10
        began = time.monotonic()
        assert agent.get("/healthz") == (200, "ok\n")
        assert agent.get("/metrics")[0] == 200
        assert time.monotonic() - began < 2
        wait_for(lambda: agent.metrics().value("process_open_fds") < 100, what="old connections to be closed")
    finally:
        for connection in sockets:
            connection.close()
    assert agent.stop() == 0
