"""Secrets in what people are shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from dockernamed.lifecycle.redact import (
    HIDDEN,
    hidden,
    masked,
    plain_text,
    printable,
    secrets_in,
    without,
)

ENV = {
    "JUPYTERHUB_API_TOKEN": "0123456789abcdef",
    "DB_PASSWORD": "0123456789abcdef-and-more",
    "MY_SECRET": "short",
    "HOME": "/home/jovyan",
}


def test_values_of_secret_names_are_hidden() -> None:
    """Tokens and passwords go, the longest first; other values stay."""
    text = "token 0123456789abcdef at /home/jovyan, 0123456789abcdef-and-more"
    assert hidden(text, ENV) == f"token {HIDDEN} at /home/jovyan, {HIDDEN}"


def test_short_values_stay() -> None:
    """A secret of a few letters would take ordinary words out of the log."""
    assert hidden("a short word", ENV) == "a short word"


SECRET = 'pa/ss+"w\u00f6rd" of ann?~~'


@pytest.mark.parametrize("name", ["TOKEN", "MYSQL_PASS", "Db_Password", "SSH_PASSPHRASE"])
@pytest.mark.parametrize(
    "encoded",
    [quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), json.dumps(SECRET)[1:-1],
     repr(SECRET)[1:-1]],
)  # fmt: skip
def test_encoded_values_are_hidden(name: str, encoded: str) -> None:
    """Servers print URLs and JSON, too."""
    assert hidden(f"<{encoded}>", {name: SECRET}) == f"<{HIDDEN}>"


@pytest.mark.parametrize("around", ["", "a", "ann:", "ab", "ann:x"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_nothing_of_a_secret_is_left_in_base64(
    around: str, encode: Callable[[bytes], bytes]
) -> None:
    """Wherever it begins among the bytes, as in a login's header: what is left says nothing."""
    text = encode(f"{around}{SECRET}{around}".encode()).decode()
    shown = hidden(f"Basic {text}!", {"TOKEN": SECRET})
    assert HIDDEN in shown
    rest = shown.removeprefix("Basic ").removesuffix("!").replace(HIDDEN, "")
    assert len(rest) <= 2 * len(base64.b64encode(around.encode())) + 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mERROR\x1b[0m \x1b[1;38;5;208mnow\x1b[m", "ERROR now"),
        ("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "text link"),
        ("a\x00b\x08\x7fc\x9b31m", "abc31m"),
        ("10 %\r20 %\r\nend\ttab", "10 %\n20 %\nend\ttab"),
        ("\x1bM\x1b", ""),
        ("na\u00efve \u597d", "na\u00efve \u597d"),
    ],
)
def test_what_a_terminal_would_obey_is_left_out(text: str, shown: str) -> None:
    """Colours make no sense in JSON and pages; a log must not drive the terminal it is read in."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("plain\n text", "plain text"),
        (
            "<html><style>p {}</style><p>No <b>such</b> page &amp; more<br>here",
            "No such page & more here",
        ),
        ("<script>if (a < b) {}</script>Hello <!-- hidden -->there", "Hello there"),
        ("\x1b[31mred\x00", "red"),
        ("<script>never closed", ""),
        ('{"message": "Not found"}', '{"message": "Not found"}'),
        ("", ""),
    ],
)
def test_words_of_a_page(page: str, words: str) -> None:
    """What a person would read of it, on one line."""
    assert plain_text(page) == words


@pytest.mark.parametrize(
    "name",
    [
        *("DATABASE_URL", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_REGION", "SSH_KEY"),
        *("PWD", "MYSQL_PWD", "DB_PASS", "password", "passwd", "api_key", "apikey", "client-key"),
        *("SENTRY_DSN", "identitytoken", "clientSecret", "secretKey", "GIT_CREDENTIALS", "auth"),
    ],
)
def test_names_of_secrets(name: str) -> None:
    """All that people call what nobody is to read."""
    assert list(secrets_in({name: "0123456789"})) == ["0123456789"]
    assert list(secrets_in({"deep": [{name: "0123456789"}]})) == ["0123456789"]


@pytest.mark.parametrize(
    "name",
    ["HOME", "JUPYTERHUB_API_URL", "JUPYTERHUB_CLIENT_ID", "KEYBOARD", "MONKEY", "LANG", "author"],
)
def test_names_of_no_secrets(name: str) -> None:
    """Logs stay readable."""
    assert list(secrets_in({name: "0123456789"})) == []


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("addr=nas,username=ann,password=hunter2,rw", ["hunter2"]),
        ("username=ann,pass=hunter2", ["hunter2"]),
        ("DB_PASSWORD=a=b,c", ["a=b,c"]),
        ("postgres://ann:hunter2@db/x", ["hunter2"]),
        ("//ann:hunter2@nas/share", ["hunter2"]),
        ("https://nas:8080/a@b", []),
        ("password=yes", []),
        ("token=true", []),
        ("", []),
    ],
)
def test_secrets_in_texts(value: str, secrets: list[str]) -> None:
    """Options of a mount, a variable as in a list of them, a URL."""
    assert list(secrets_in([value])) == secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("data: user=ann,password=hunter2: denied", "data: user=ann,password=[hidden] denied"),
        ("o=username=ann,pass=hunter2", "o=username=ann,pass=[hidden]"),
        ('{"password": "hun\'ter2", "user": "a"}', '{"password": [hidden], "user": "a"}'),
        ("{'identitytoken': 'x y'}", "{'identitytoken': [hidden]}"),
        ("GET /x?token=abc&a=1", "GET /x?token=[hidden]&a=1"),
        ("at https://ann:hunter2@nas/x, //b:c@d", "at https://ann:[hidden]@nas/x, //b:[hidden]@d"),
        ("Authorization: Bearer abcdefghijk", "Authorization: Bearer [hidden]"),
        ("AWS_A_KEY=abc AWS_X=1 SSH_KEY=k", "AWS_A_KEY=[hidden] AWS_X=[hidden] SSH_KEY=[hidden]"),
        ("the password is wrong, token expired", "the password is wrong, token expired"),
        ("http://127.0.0.1:8081/hub/api", "http://127.0.0.1:8081/hub/api"),
        ("spawn of a@b at 12:30", "spawn of a@b at 12:30"),
    ],
)  # fmt: skip
def test_what_looks_like_a_secret(text: str, shown: str) -> None:
    """Hidden without knowing whose it is; other text stays as it is."""
    assert masked(text) == shown


def test_short_secrets_in_messages() -> None:
    """In what we say ourselves they are hidden where they stand as words."""
    assert without("hub: a hub2 is 'hub2'", ["hub2"]) == f"hub: a {HIDDEN} is '{HIDDEN}'"
    assert without("hub22", ["hub2"]) == "hub22"
