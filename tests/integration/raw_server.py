"""A server that sends exactly the bytes a test wants, when it wants, with or without TLS."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.patience import PATIENCE_SECONDS

HOST = "127.0.0.1"


def http(
    status: int,
    body: bytes | dict[str, Any] | list[Any] = b"",
    *,
    length: bool = True,
    **fields: str,
) -> bytes:
    """Return an answer as it goes over the wire; the last of its connection, unless it says so."""
    fields.setdefault("Connection", "close")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Status"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    if length:
        lines.append(f"Content-Length: {len(content)}")
    return "\r\n".join([*lines, "", ""]).encode() + content


def chunk(data: bytes) -> bytes:
    """Return a piece of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Peer:
    """A client's connection, as the server sees it."""

    def __init__(self, connection: socket.socket, heads: list[bytes]) -> None:
        self.socket = connection
        self._heads = heads

    def read_head(self) -> bytes:
        """Read a request as far as the header fields."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            if not byte:
                raise ConnectionError("The client went away")
            head += byte
        self._heads.append(head)
        return head

    def read_request(self) -> bytes:
        """Read a whole request; returns its body."""
        head = self.read_head().lower()
        left = int(head.split(b"content-length:")[1].split()[0]) if b"content-length" in head else 0
        body = b""
        while len(body) < left:
            piece = self.socket.recv(min(65536, left - len(body)))
            if not piece:
                raise ConnectionError("The client went away")
            body += piece
        return body

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def reset(self) -> None:
        """End the connection with a reset instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def break_tls(self) -> None:
        """Go on without the encryption, so that the client meets bytes that are no TLS."""
        with socket.socket(fileno=self.socket.detach()) as plain:
            plain.sendall(b"this is no TLS at all" * 100)


Script = bytes | Callable[[Peer], None]


class RawServer:
    """Treats each connection by a script, the last script serving for all that follow.

    Attributes:
        heads: The header of every request that was read, in order.
        connections: How many connections were accepted.
        ended: Set when the server ends; scripts that wait should wait for it.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self._scripts = list(scripts)
        self._tls = tls
        self._listener = socket.create_server((HOST, 0), backlog=64)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self.ended = threading.Event()
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{HOST}:{self._listener.getsockname()[1]}/openai/v1"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.ended.set()
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    @property
    def open_connections(self) -> int:
        """How many connections neither side has ended yet."""
        with self._lock:
            return len(self._open)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_SECONDS)
            # What was sent before a reset must be on its way by then.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(connection)
                script = self._scripts[min(self.connections, len(self._scripts) - 1)]
                self.connections += 1
            self._start(lambda plain=connection, script=script: self._serve(plain, script))  # type: ignore[misc]

    def _serve(self, plain: socket.socket, script: Script) -> None:
        connection = plain
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(plain, server_side=True)
                # It has taken the socket over: only through it can the server wake this thread.
                with self._lock:
                    self._open.discard(plain)
                    self._open.add(connection)
            peer = Peer(connection, self.heads)
            if callable(script):
                script(peer)
            else:
                peer.read_request()
                peer.send(script)
        except OSError:
            # The client may end a connection whenever it likes.
            pass
        finally:
            connection.close()
            plain.close()
            with self._lock:
                self._open -= {plain, connection}


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def make_certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Make a certificate for the loopback address, and a server's context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    authority = folder / "authority.pem"
    authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    both = folder / "server.pem"
    both.write_bytes(
        authority.read_bytes()
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return authority, context
