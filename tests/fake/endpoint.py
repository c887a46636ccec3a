"""A TLS server that serves what a test wants: follows files, ignores them, goes silent."""

import socket
import ssl
import threading
from pathlib import Path


class Endpoint:
    """Loads FOLDER/fullchain.pem and privkey.pem when told to (or whenever they change, `follow`).

    Sends one line and closes: enough for a handshake, never in anybody's way.
    """

    def __init__(self, folder=None, port=0, follow=False):
        self.folder = Path(folder) if folder else None
        self.follow = follow
        self.handshakes = 0
        self.names_asked = []
        self._context = None
        self._port = port
        self._socket = None
        self._thread = None
        self._stopping = threading.Event()
        self.start()

    @property
    def connect(self):
        return f"127.0.0.1:{self._port}"

    @property
    def port(self):
        return self._port

    def load(self, cert=None, key=None):
        """Serve these files from now on; without arguments the folder's."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert or self.folder / "fullchain.pem", key or self.folder / "privkey.pem")
        context.sni_callback = lambda connection, name, _: self.names_asked.append(name)
        self._context = context
        return self

    def start(self):
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", self._port))
        self._socket.listen(64)
        self._port = self._socket.getsockname()[1]
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self):
        """Refuses connections until start()."""
        if not self._thread:
            return
        self._stopping.set()
        try:  # wakes accept()
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        self._thread.join()
        self._thread = None

    def _serve(self):
        listener = self._socket
        while not self._stopping.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection):
        connection.settimeout(5)
        try:
            if self.follow:
                self.load()
            if not self._context:
                connection.close()
                return
            with self._context.wrap_socket(connection, server_side=True) as tls:
                self.handshakes += 1
                tls.sendall(b"hello\r\n")
                tls.recv(1024)
        except (OSError, ssl.SSLError):
            connection.close()
