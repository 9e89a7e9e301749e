"""The Hub's side of `JupyterHub.internal_ssl`: its certificate, and the name that servers know.

The gateway of a network that is made later is in no certificate that the Hub makes at its start. So
its certificate is made out to one further name, which containers are told the address of. A Hub
that listens on all addresses gives its proxy the name of its host, which JupyterHub leaves out.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from jupyterhub.utils import make_ssl_context

from ..desired.network import HUB_NAME


@contextmanager
def hub_named(app: Any) -> Iterator[None]:
    """Have the certificate that a Hub makes be made out to `HUB_NAME` and its host's name too.

    Args:
        app: the JupyterHub that is starting; one that has a certificate already keeps that.
    """
    # Of the Hub alone: servers' certificates are made out to the names in this setting as well.
    names = app.trusted_alt_names
    app.trusted_alt_names = [*names, f"DNS:{HUB_NAME}", f"DNS:{socket.gethostname()}"]
    try:
        yield
    finally:
        app.trusted_alt_names = names


@lru_cache(maxsize=4)
def names_in(certificate: str) -> frozenset[str]:
    """The names and addresses that a certificate is made out to.

    Args:
        certificate: path of a PEM file, such as ``JupyterHub.internal_ssl_cert``.
    """
    # JupyterHub needs it for internal_ssl, and for nothing else.
    from cryptography import x509

    found = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = names.get_values_for_type(x509.DNSName)
    return frozenset((*hosts, *map(str, names.get_values_for_type(x509.IPAddress))))


@contextmanager
def made_out_to(names: Iterable[str], spawner: Any) -> Iterator[None]:
    """Have the certificates that a spawner makes be made out to further names.

    Args:
        names: in the form of ``ssl_alt_names``. That is left alone where the admin has set a
            function.
        spawner: whose.
    """
    before = spawner.ssl_alt_names
    if not callable(before):
        spawner.ssl_alt_names = list(dict.fromkeys([*before, *names]))
    try:
        yield
    finally:
        spawner.ssl_alt_names = before


def ssl_context(spawner: Any) -> Any:
    """With which the Hub asks a spawner's server; None where they talk without TLS."""
    if not spawner.internal_ssl:
        return None
    settings = spawner.user.settings
    return make_ssl_context(
        settings.get("internal_ssl_key"),
        settings.get("internal_ssl_cert"),
        cafile=settings.get("internal_ssl_ca"),
    )
