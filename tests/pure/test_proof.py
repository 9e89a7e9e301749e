"""Which answers prove that a server is ready, and is this one."""

from __future__ import annotations

import pytest

from dockernamed.desired.proof import Answer, Proof, checked_readiness
from dockernamed.errors import ConfigError

BASE, ID = "/user/ann/lab/", "jupyterhub-user-ann!lab"
VERSION = {"x-jupyterhub-version": "6.1.1"}


def login(client_id: str, hub: str = "") -> dict[str, str]:
    """The headers of a redirect to the Hub's authorization."""
    query = f"client_id={client_id}&redirect_uri=%2Fuser%2Fann%2Flab%2Foauth_callback&state=s"
    return {**VERSION, "location": f"{hub}/hub/api/oauth2/authorize?{query}"}


OWN = [
    Answer(200, headers=VERSION),
    Answer(403, headers=VERSION),
    Answer(302, headers=login("jupyterhub-user-ann%21lab")),
    Answer(302, headers=login(ID, "https://hub.example")),
    Answer(303, headers={"location": login(ID)["location"]}),
]
WRONG = [
    Answer(200),
    Answer(404, headers={"server": "TornadoServer/6.5"}),
    Answer(404, headers=VERSION),  # the server of another user
    Answer(302, headers={**VERSION, "location": "/hub/user/ann/lab/api"}),  # the Hub itself
    Answer(302, headers=login("jupyterhub-user-bob")),
    Answer(302, headers=login("")),
    Answer(302, headers={"location": f"/somewhere?client_id={ID}"}),
    Answer(302, headers={"location": "http://[broken"}),
    Answer(200, headers={"location": login(ID)["location"]}),
    Answer(500, headers=VERSION),
]


@pytest.mark.parametrize("answer", OWN, ids=str)
def test_own_answers(answer: Answer) -> None:
    """JupyterHub's header on what is known here, or a login at the Hub as this very client."""
    proof = Proof("jupyterhub", BASE, ID)
    assert proof.path == "/user/ann/lab/api"
    assert proof.given_by(answer)


@pytest.mark.parametrize("answer", WRONG, ids=str)
def test_wrong_answers(answer: Answer) -> None:
    """Other programs, servers of others, the Hub itself: an answer alone proves nothing."""
    assert not Proof("jupyterhub", BASE, ID).given_by(answer)


@pytest.mark.parametrize("status", [200, 302, 404, 499, 500, 503])
def test_any_answer(status: int) -> None:
    """With "http" the path is JupyterHub's, and all but a server's error counts."""
    proof = Proof("http", BASE, ID)
    assert proof.path == "/user/ann/lab/api"
    assert proof.given_by(Answer(status)) is (status < 500)


@pytest.mark.parametrize("status", [199, 200, 204, 302, 399, 400, 404, 503])
def test_a_path(status: int) -> None:
    """A path is asked as it is, and must be there."""
    proof = Proof("/healthz?full=1", BASE, ID)
    assert proof.path == "/healthz?full=1"
    assert proof.given_by(Answer(status)) is (200 <= status < 400)


def test_doubts() -> None:
    """Each kind of wrong answer has words that lead to its cause."""
    proof = Proof("jupyterhub", BASE, ID)
    assert "does its command start jupyterhub-singleuser?" in proof.doubt(Answer(404))
    for other in (Answer(404, headers=VERSION), Answer(302, headers=login("jupyterhub-user-bob"))):
        assert "does another program use that port?" in proof.doubt(other)
    assert "readiness = '/up'" in Proof("/up", BASE, ID).doubt(Answer(404))


def test_an_answer_in_words() -> None:
    """Status, program and first words, as far as there are any."""
    assert str(Answer(204)) == "204"
    assert str(Answer(404, "Not Found", {"server": "x/1"}, "Oh no")) == (
        "404 Not Found from x/1: Oh no"
    )


@pytest.mark.parametrize("value", ["jupyterhub", "http", "/", "/healthz", "/a?b=c"])
def test_forms_of_the_setting(value: str) -> None:
    """The two words, and paths."""
    assert checked_readiness(value) == value


@pytest.mark.parametrize("value", ["", "https", "healthz", "/a b", "/a\r\nX: y", "/ä"])
def test_other_forms_of_the_setting(value: str) -> None:
    """Anything else is refused, with an example."""
    with pytest.raises(ConfigError, match="/healthz"):
        checked_readiness(value)
