"""Whether the way to an Engine can be trusted: nobody reads along, and it is the right Engine.

Whoever speaks to an Engine is root on its host, and what the Hub sends there holds the tokens of
its users. So a way on which others could read along, or answer in the Engine's place, is refused
unless `allow_insecure_engine` says in so many words that it is to be used.
"""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ..errors import ConfigError

SETTING = "allow_insecure_engine"
#: Environment variables that decide on the way, as fields of a `ConfigError`.
ENVIRONMENT = frozenset(
    {"DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "http_proxy", "HTTP_PROXY"}
)
_ALLOW = f"c.DockerNamedSpawner.{SETTING} = True"
_RISK = (
    "whoever is on the way can read the users' tokens, answer in the Engine's place, and become "
    "root on its host"
)
_FILES = '"client_cert": ("cert.pem", "key.pem"), "ca_cert": "ca.pem", "verify": True'

_PASSWORD = re.compile(r"(?<=:)[^/@:]+(?=@)")


@dataclass(frozen=True)
class Said:
    """Where a part of the way was said, to name it in a message.

    Attributes:
        field: a setting, or one of `ENVIRONMENT`.
        value: what it is set to, as may be shown.
    """

    field: str
    value: object

    @property
    def by_environment(self) -> bool:
        """It is no line of the configuration."""
        return self.field in ENVIRONMENT


@dataclass(frozen=True)
class Way:
    """A way to an Engine by TCP.

    Attributes:
        url: the address as it was written.
        base: the URL that HTTP uses, ``http://…`` or ``https://…``.
        tls: a `docker.tls.TLSConfig`, True for TLS without settings, or nothing.
        proxy: URL of a proxy of the environment on the way, or None.
        address: where the address was said.
        protection: where TLS was asked for; None if it was nowhere.
    """

    url: str
    base: str
    tls: Any
    proxy: str | None
    address: Said
    protection: Said | None

    def problem(self) -> ConfigError | None:
        """Why this way is not to be used, as the error to raise; None if it can be trusted."""
        if urlsplit(self.base).scheme == "https":
            return self._unverified()
        if self.protection is not None:
            return self._without_the_tls_asked_for()
        if not is_loopback(urlsplit(self.base).hostname or ""):
            return self._plain()
        if self.proxy and not is_loopback(urlsplit(self.proxy).hostname or ""):
            return self._by_a_proxy()
        return None

    def _unverified(self) -> ConfigError | None:
        said = self.protection
        if said is None or self.tls is True or getattr(self.tls, "verify", None):
            return None
        ignored = ", so the CA is not used," if getattr(self.tls, "ca_cert", None) else ""
        what = f"the certificate of the Engine at {self.url} is not checked{ignored} and {_RISK}"
        if said.by_environment:
            works = "set DOCKER_TLS_VERIFY=1"
        elif said.field == "tls_config" and isinstance(said.value, Mapping):
            line = {"ca_cert": "ca.pem", **said.value, "verify": True}
            works = f"write c.DockerNamedSpawner.tls_config = {line}"
        else:
            works = "give the TLSConfig verify=True, and ca_cert where the CA is your own"
        return ConfigError(said.field, said.value, f"{what}; {works}, or to have it so: {_ALLOW}")

    def _without_the_tls_asked_for(self) -> ConfigError:
        asked = self.protection.field if self.protection else ""
        hint = (
            f"it leads to plain HTTP, so what {asked} says of TLS is not used; write tcp:// or "
            f"https:// and no tls = False, or leave {asked} out"
        )
        return ConfigError(self.address.field, self.address.value, hint)

    def _plain(self) -> ConfigError:
        tls = (
            "DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
            if self.address.by_environment
            else f"c.DockerNamedSpawner.tls_config = {{{_FILES}}}"
        )
        hint = (
            f"the way to the Engine at {self.url} is not encrypted: {_RISK}. Use TLS: {tls}; or "
            f"an ssh:// address; or, if nobody else can be on that network: {_ALLOW}"
        )
        return ConfigError(self.address.field, self.address.value, hint)

    def _by_a_proxy(self) -> ConfigError:
        name = next((one for one in ("http_proxy", "HTTP_PROXY") if os.environ.get(one)), "")
        host = urlsplit(self.base).hostname or ""
        hint = (
            f"the Engine at {self.url} would be asked by way of this proxy, without encryption: "
            f"{_RISK}; set no_proxy={host}, or to have it so: {_ALLOW}"
        )
        # Without the user and password that may stand in it.
        return ConfigError(name or "http_proxy", urlsplit(self.proxy or "").hostname, hint)


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own, whatever a name server says."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def without_password(url: str) -> str:
    """An address as it may be shown."""
    return _PASSWORD.sub("[hidden]", url)


def check_files(said: Said, files: Iterable[object]) -> None:
    """Open each file that TLS needs: docker-py does not say which of them is missing.

    Raises:
        ConfigError: one of them cannot be read.
    """
    for file in files:
        try:
            if not isinstance(file, int) and not os.path.isdir(str(file)):
                with open(str(file), "rb"):
                    pass
        except OSError as error:
            hint = f"it cannot be used: {file}: {error.strerror}"
            raise ConfigError(said.field, said.value, hint) from error


def check_authority(said: Said, tls: Any) -> None:
    """Refuse two different CAs, of which docker-py would silently ignore one.

    Raises:
        ConfigError: both are named.
    """
    verify, authority = getattr(tls, "verify", None), getattr(tls, "ca_cert", None)
    if authority and isinstance(verify, str) and verify and verify != authority:
        hint = (
            f"verify and ca_cert name two CAs, {verify} and {authority}, and only one would be "
            "used: set verify to True"
        )
        raise ConfigError(said.field, said.value, hint)


def lax_key(tls: Any) -> Iterator[str]:
    """A sentence if others on this machine can read the private key that is shown to the Engine."""
    for _, key in [tls.cert] if getattr(tls, "cert", None) else []:
        mode = stat.S_IMODE(os.stat(key).st_mode)
        if mode & 0o077:
            yield (
                f"Other accounts of this machine can read or replace the key {key} (mode "
                f"{mode:04o}), with which one is root on the Engine's host: chmod 600 {key}"
            )
