"""Credentials of private registries."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from dockernamed.errors import ConfigError
from dockernamed.images import credentials, reference

LOGIN = {"username": "ann", "password": "s3cret-word"}


@pytest.mark.parametrize(
    ("host", "image"),
    [
        ("registry.example:5000", "registry.example:5000/lab:1"),
        ("docker.io", "lab"),
        ("https://index.docker.io/v1/", "jupyter/lab"),
    ],
)
def test_they_are_found_by_the_images_registry(host: str, image: str) -> None:
    """Host and port count; Docker Hub has three names."""
    assert credentials.for_image({host: LOGIN}, reference.parse(image)) == LOGIN


def test_what_is_none_is_left_out() -> None:
    """A callable may have no password for a token's owner: the text "None" is none either."""
    found = credentials.for_image(
        {"r:5000": LOGIN | {"email": None}}, reference.parse("r:5000/lab")
    )
    assert found == LOGIN


def test_another_registry_gets_none() -> None:
    """A password is never sent where it does not belong."""
    found = credentials.for_image({"registry.example": LOGIN}, reference.parse("other.example/lab"))
    assert found is None


@pytest.mark.parametrize("entry", ["ann:s3cret-word", {}, {"user": "s3cret-word"}])
def test_a_wrong_form_is_refused_without_a_word_of_it(entry: object) -> None:
    """The message names the registry and the form, and quotes nothing that may be secret."""
    with pytest.raises(ConfigError, match=r"registry\.example") as caught:
        credentials.for_image({"registry.example": entry}, reference.parse("registry.example/lab"))
    assert "s3cret" not in str(caught.value)


def test_a_file_has_the_settings_form_or_dockers() -> None:
    """Both a plain JSON dict and Docker's config.json are read."""
    assert credentials.from_file(json.dumps({"r": LOGIN})) == {"r": LOGIN}
    joined = base64.b64encode(b"ann:s3cret-word").decode()
    dockers = {"auths": {"r": {"auth": joined}, "q": {"identitytoken": "t", "x": "y"}}}
    assert credentials.from_file(json.dumps(dockers)) == {"r": LOGIN, "q": {"identitytoken": "t"}}


@pytest.mark.parametrize("key", ["https://r:5000", "http://r:5000/", "https://r:5000/v1/"])
def test_dockers_file_may_have_urls(key: str) -> None:
    """As `docker login` may write them; the host itself counts before its URL."""
    image, other = reference.parse("r:5000/lab"), {"username": "bob", "password": "x"}
    found = credentials.from_file(json.dumps({"auths": {key: LOGIN}}))
    assert credentials.for_image(found, image) == LOGIN
    found = credentials.from_file(json.dumps({"auths": {"r:5000": LOGIN, key: other}}))
    assert credentials.for_image(found, image) == LOGIN


def test_a_credential_helpers_registry_gets_none() -> None:
    """Such a config.json has an empty entry for it: the Docker login counts."""
    text = json.dumps({"auths": {"r": {}}, "credsStore": "desktop"})
    assert credentials.for_image(credentials.from_file(text), reference.parse("r/lab")) is None


@pytest.mark.parametrize("made", [5, ["s3cret"]])
def test_what_is_no_dict_is_refused(made: Any) -> None:
    """A callable may return anything."""
    with pytest.raises(ConfigError, match="registry_credentials") as caught:
        credentials.for_image(made, reference.parse("r/lab"))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "s3cret",
        "[]",
        json.dumps({"auths": {"r": {"auth": "s3cret!"}}}),
        json.dumps({"auths": {"r": {"auth": "s3crét"}}}),
        json.dumps({"auths": {"r": {"auth": ["s3cret"]}}}),
        json.dumps({"auths": {"r": "s3cret"}}),
        json.dumps({"auths": {"r": None}}),
        json.dumps({"auths": ["s3cret"]}),
    ],
)
def test_a_broken_file_is_refused_without_a_word_of_it(text: str) -> None:
    """What stands in the file never reaches a message."""
    with pytest.raises(ConfigError, match="registry_credentials") as caught:
        credentials.from_file(text)
    assert "s3cret" not in str(caught.value)
