"""A stand-in for FluxLoop's public service, as far as its published client shows it: behind a proxy of ours, under its real name, with TLS.

What asks https://api.fluxloop.ai by HTTPS_PROXY and SSL_CERT_FILE comes here, and nowhere else.
"""

from __future__ import annotations

import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "api.fluxloop.ai"


class Vendor(ThreadingHTTPServer):
    """The service, and the proxy that leads to it. alive: the keys that open it. status: an answer that it gives to everybody instead."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.alive: set[str] = set()
        self.status = 0
        self.asked: list[str] = []
        self.authority = folder / "authority.pem"
        self.context = _certified(folder, self.authority)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """For whoever is to meet it."""
        return {
            "HTTPS_PROXY": f"http://127.0.0.1:{self.server_address[1]}",
            "SSL_CERT_FILE": str(self.authority),
            "NO_PROXY": "127.0.0.1",
        }

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Vendor
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        if self.path != f"{HOST}:443":
            self.server.asked.append(f"CONNECT {self.path}")
            self.send_error(403)
            return
        self.send_response(200)
        self.end_headers()
        self.connection = self.server.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", buffering=0)  # type: ignore[assignment]
        self.close_connection = False

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append(f"{self.command} {self.path}")
        known = self.headers.get("Authorization", "").removeprefix("Bearer ") in self.server.alive
        if self.server.status:
            status, body = self.server.status, {"detail": "as the test wants it"}
        elif self.path.partition("?")[0] not in ("/api/projects", "/api/api-keys"):
            status, body = 404, {"detail": "Not Found"}
        else:
            status, body = (200, []) if known else (401, {"detail": "Authentication required"})  # type: ignore[assignment]
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_PATCH = _answer

    def log_message(self, *words: object) -> None:
        """Says nothing."""


def _certified(folder: Path, authority: Path) -> ssl.SSLContext:
    """A certificate for its name, by an authority of our own that nobody else trusts."""
    now, key, root = (
        datetime.now(UTC),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test's own authority")])

    def signed(
        name: x509.Name, public: ec.EllipticCurvePublicKey, *more: tuple[x509.ExtensionType, bool]
    ) -> x509.Certificate:
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(public)
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
        )  # fmt: skip
        for extension, critical in more:
            made = made.add_extension(extension, critical)
        return made.sign(root, hashes.SHA256())

    top = signed(issuer, root.public_key(), (x509.BasicConstraints(ca=True, path_length=None), True))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    leaf = signed(name, key.public_key(), (x509.SubjectAlternativeName([x509.DNSName(HOST)]), False))
    authority.write_bytes(top.public_bytes(serialization.Encoding.PEM))
    both = folder / "service.pem"
    both.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + leaf.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context
