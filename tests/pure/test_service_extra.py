"""``extra_service_spec``: what an admin can add to a service, and what stays ours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.placement import ServiceSettings
from dockernamed.desired.service_extra import blamed, checked_extra
from dockernamed.desired.services import ServiceFile, service_body
from dockernamed.desired.spec import ServerSpec
from dockernamed.errors import ConfigError

SPEC = ServerSpec(
    key=naming.Key("hub", "ann", "x"),
    names=("n",),
    image="lab",
    network="hub-net",
    publish_ip="0.0.0.0",
)


def made(extra: Any) -> dict[str, Any]:
    """A service with further keys."""
    settings = ServiceSettings(constraints=("a==b",), extra=extra)
    return service_body(
        replace(SPEC, service=settings),
        Environment({"A": "b"}),
        name="n",
        start_id="s",
        files=[ServiceFile("i", "s", "/p")],
    )


def test_it_is_laid_over() -> None:
    """Dicts go into dicts, lists are joined, None removes; nodes' templates are the admin's own."""
    body = made(
        {
            "Labels": {"team": "physics"},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Env": ["NODE={{.Node.Hostname}}"],
                    "Init": None,
                    "Secrets": [{"SecretID": "theirs"}],
                },
                "RestartPolicy": {"MaxAttempts": 3},
                "Networks": [{"Target": "logs", "Aliases": ["x"]}],
                "Placement": {"MaxReplicas": 1, "Constraints": ["c==d"]},
            },
        }
    )
    task = body["TaskTemplate"]
    assert body["Labels"]["team"] == "physics"
    assert body["Labels"][naming.LABEL_USER] == "ann"
    assert task["ContainerSpec"]["Env"] == ["A=b", "NODE={{.Node.Hostname}}"]
    assert "Init" not in task["ContainerSpec"]
    assert [one["SecretID"] for one in task["ContainerSpec"]["Secrets"]] == ["i", "theirs"]
    assert task["RestartPolicy"] == {"Condition": "none", "MaxAttempts": 3}
    assert [one["Target"] for one in task["Networks"]] == ["hub-net", "logs"]
    assert task["Placement"] == {"Constraints": ["a==b", "c==d"], "MaxReplicas": 1}


@pytest.mark.parametrize(
    ("given", "made_of_it"),
    [
        ({}, {"Test": ["NONE"]}),
        ({"Test": ["CMD", "true"], "Retries": 9}, {"Test": ["CMD", "true"], "Retries": 9}),
        (None, None),
    ],
)
def test_health_checks(given: dict[str, Any] | None, made_of_it: dict[str, Any] | None) -> None:
    """A Swarm ends what its image calls unhealthy, so only an admin's own words have it do that."""
    container = made({"TaskTemplate": {"ContainerSpec": {"Healthcheck": given}}})["TaskTemplate"]
    assert container["ContainerSpec"].get("Healthcheck") == made_of_it


def test_any_case_of_letters() -> None:
    """The Engine reads any, and so would take the last of two keys that are one to it."""
    extra = {"tasktemplate": {"containerspec": {"readonly": True}}, "labels": {"UPPER": "x"}}
    assert checked_extra(extra) == {
        "TaskTemplate": {"ContainerSpec": {"ReadOnly": True}},
        "Labels": {"UPPER": "x"},
    }


TASK, CONTAINER = "TaskTemplate", "ContainerSpec"
OURS: list[tuple[dict[str, Any], str, str]] = [
    ({"Name": "x"}, "['Name']", "name_template"),
    ({"name": "x"}, "['Name']", "name_template"),
    ({"Mode": {"Global": {}}}, "['Mode']", "one task"),
    ({"mode": {"Replicated": {"Replicas": 2}}}, "['Mode']", "one task"),
    ({"Labels": None}, "['Labels']", "whose"),
    ({"Labels": {"dockernamed.user": "bob"}}, "['Labels']['dockernamed.user']", "whose"),
    ({"Labels": {"dockernamed.user": None}}, "['Labels']['dockernamed.user']", "whose"),
    ({"Labels": {"dockernamed.new": "x"}}, "['Labels']['dockernamed.new']", "whose"),
    ({"Networks": [{"Target": "x"}]}, "['Networks']", "TaskTemplate"),
    ({"EndpointSpec": None}, "['EndpointSpec']", "port"),
    ({"EndpointSpec": {"Ports": None}}, "['EndpointSpec']['Ports']", "port"),
    ({TASK: None}, "['TaskTemplate']", "change that"),
    ({TASK: []}, "['TaskTemplate']", "use a dict"),
    ({"Labels": ["a"]}, "['Labels']", "use a dict"),
    (
        {TASK: {CONTAINER: {"Env": {"A": "b"}}}},
        "['TaskTemplate']['ContainerSpec']['Env']",
        "a list",
    ),
    (
        {TASK: {"Placement": {"Constraints": "a==b"}}},
        "['TaskTemplate']['Placement']['Constraints']",
        "use a list",
    ),
    ({TASK: {"PluginSpec": {"Name": "x"}}}, "['TaskTemplate']['PluginSpec']", "plugin"),
    ({TASK: {"Runtime": "plugin"}}, "['TaskTemplate']['Runtime']", "containers"),
    ({TASK: {"NetworkAttachmentSpec": {}}}, "['TaskTemplate']['NetworkAttachmentSpec']", "server"),
    ({TASK: {"Networks": None}}, "['TaskTemplate']['Networks']", "network_name"),
    ({TASK: {"ForceUpdate": 3}}, "['TaskTemplate']['ForceUpdate']", "starts"),
    ({TASK: {"Placement": None}}, "['TaskTemplate']['Placement']", "placement_constraints"),
    ({TASK: {CONTAINER: None}}, "['TaskTemplate']['ContainerSpec']", "change that"),
    ({TASK: {CONTAINER: {"Image": "x"}}}, "['TaskTemplate']['ContainerSpec']['Image']", "image"),
    ({TASK: {CONTAINER: {"Args": ["x"]}}}, "['TaskTemplate']['ContainerSpec']['Args']", "cmd"),
    ({TASK: {CONTAINER: {"Command": []}}}, "['TaskTemplate']['ContainerSpec']['Command']", "cmd"),
    ({TASK: {CONTAINER: {"Secrets": None}}}, "['TaskTemplate']['ContainerSpec']['Secrets']", "tok"),
    ({TASK: {CONTAINER: {"Env": None}}}, "['TaskTemplate']['ContainerSpec']['Env']", "environment"),
    (
        {TASK: {CONTAINER: {"Labels": {"dockernamed.hub": "x"}}}},
        "['TaskTemplate']['ContainerSpec']['Labels']['dockernamed.hub']",
        "whose",
    ),
]


@pytest.mark.parametrize(("extra", "where", "hint"), OURS)
def test_what_stays_ours(extra: dict[str, Any], where: str, hint: str) -> None:
    """What makes it ours, brings tokens or lets the Hub find it is refused when the Hub starts."""
    with pytest.raises(ConfigError, match=hint) as raised:
        checked_extra(extra)
    assert raised.value.field == f"extra_service_spec{where}"
    with pytest.raises(ConfigError):
        made(extra)


@pytest.mark.parametrize("value", ["x", [], {"a": object()}, {"a": float("nan")}])
def test_it_is_json(value: object) -> None:
    """Anything that could not be sent is refused."""
    with pytest.raises(ConfigError) as raised:
        checked_extra(value)
    assert "extra_service_spec" in raised.value.public


def test_what_it_says_is_nobody_elses_business() -> None:
    """It is free text that may hold secrets: users read the setting's name alone."""
    with pytest.raises(ConfigError) as raised:
        checked_extra({"Name": "secret"})
    assert "secret" not in raised.value.public


NO_INT = "json: cannot unmarshal string into Go struct field {} of type int64"


@pytest.mark.parametrize(
    ("extra", "words", "told"),
    [
        (
            {"TaskTemplate": {"Resources": {"Limits": {"MemoryBytes": "1G"}}}},
            NO_INT.format("Limit.TaskTemplate.Resources.Limits.MemoryBytes"),
            "extra_service_spec['TaskTemplate']['Resources']['Limits']['MemoryBytes'] = '1G': the "
            "Engine takes no string there, but what its API calls int64",
        ),
        (
            {"EndpointSpec": {"Ports": [{"TargetPort": "x"}]}},
            NO_INT.format("PortConfig.EndpointSpec.Ports.TargetPort"),
            "extra_service_spec['EndpointSpec']['Ports'] = [{'TargetPort': 'x'}]: the Engine takes",
        ),
        (
            {"TaskTemplate": {"ContainerSpec": {"StopGracePeriod": 10**30}}},
            "json: cannot unmarshal number 1000 into Go struct field "
            "ContainerSpec.TaskTemplate.ContainerSpec.StopGracePeriod of type time.Duration",
            "takes no number there, but what its API calls time.Duration",
        ),
        (
            {"Labels": {"a": 1}},
            "json: cannot unmarshal number into Go struct field ServiceSpec.Labels of type string",
            "extra_service_spec['Labels'] = {'a': 1}: the Engine takes no number there",
        ),
        (
            {"EndpointSpec": {"Mode": "zzz"}},
            'invalid resolution mode: "zzz"',
            'the Engine refuses it: invalid resolution mode: "zzz"',
        ),
    ],
)
def test_what_the_engine_refuses(extra: dict[str, Any], words: str, told: str) -> None:
    """The setting is named, and where the Engine says so, the key in it."""
    error = blamed(extra, words)
    assert error is not None
    assert told in str(error)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({}, "invalid mount config"),
        (
            {"TaskTemplate": {"ContainerSpec": {"Init": True}}},
            NO_INT.format("Limit.TaskTemplate.Resources.Limits.MemoryBytes"),
        ),
    ],
)
def test_what_the_engine_refuses_elsewhere(extra: dict[str, Any], words: str) -> None:
    """It is not blamed for what another setting asks for."""
    assert blamed(extra, words) is None
