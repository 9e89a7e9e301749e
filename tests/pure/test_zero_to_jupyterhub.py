"""examples/zero-to-jupyterhub: on Kubernetes, named servers are apart, and profiles mean the same.

The values are given to KubeSpawner as the chart gives them: its ``jupyterhub_config.py`` sets what
`CHART` lists, then ``hub.config``, then runs ``hub.extraConfig`` in the order of its keys.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator, DummyAuthenticator
from jupyterhub.orm import Spawner, User, new_session_factory
from jupyterhub.scopes import scope_definitions
from sqlalchemy import text
from support.names import few, pairs
from traitlets.config import Config, Configurable
from traitlets.config.loader import PyFileConfigLoader

from dockernamed import DockerNamedSpawner
from dockernamed.options.chooser import Chooser, problems

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "zero-to-jupyterhub"
PROFILES_DOC = EXAMPLE.parents[1] / "docs" / "profiles.md"
SWARM_DOC = EXAMPLE.parents[1] / "docs" / "swarm.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: The chart's values → what its ``jupyterhub_config.py`` makes of them.
CHART = {
    "hub.allowNamedServers": "JupyterHub.allow_named_servers",
    "hub.namedServerLimitPerUser": "JupyterHub.named_server_limit_per_user",
    "hub.concurrentSpawnLimit": "JupyterHub.concurrent_spawn_limit",
    "hub.activeServerLimit": "JupyterHub.active_server_limit",
    "singleuser.memory.limit": "KubeSpawner.mem_limit",
    "singleuser.memory.guarantee": "KubeSpawner.mem_guarantee",
    "singleuser.cpu.limit": "KubeSpawner.cpu_limit",
    "singleuser.cpu.guarantee": "KubeSpawner.cpu_guarantee",
    "singleuser.profileList": "KubeSpawner.profile_list",
    "singleuser.storage.capacity": "KubeSpawner.storage_capacity",
}
#: What `chart` makes something of by itself.
HANDLED = {
    "hub.services.script", "hub.loadRoles.script", "hub.config", "hub.extraConfig",
    "singleuser.image.name", "singleuser.image.tag", "singleuser.storage.type",
    "singleuser.storage.homeMountPath", "singleuser.storage.dynamic.volumeNameTemplate",
}  # fmt: skip
#: Runs extraConfig as the chart's file does; the values are in its namespace.
LAST_LINES = """
for name, lines in sorted({extra!r}.items()):
    exec(lines)
"""
#: Names that something or other takes for one: joined, cut, folded, or with characters left out.
CLOSE = [
    ("a", "b-c"), ("a-b", "c"), ("a", "bc"), ("ab", "c"), ("a", "b--c"), ("a--b", "c"),
    ("abc", ""), ("a", "b"), ("a--b", ""), ("a-b", ""), ("a-", "b"), ("a", "-b"),
    ("ann", ""), ("Ann", ""), ("ANN", ""), ("ann", "Exp"), ("ann", "exp"), ("ann", "EXP"),
    ("zoe", "x"), ("zoë", "x"), ("zoe\u0308", "x"), ("日本", ""), ("日木", ""), ("ß", ""),
    ("ss", ""), ("a.b", ""), ("a_b", ""), ("a b", ""), ("a@b", ""), ("a", "b.c"), ("a", "b_c"),
    ("a", "b c"), ("a" * 63, ""), ("a" * 64, ""), ("a" * 255, ""), ("a" * 254 + "b", ""),
    ("a" * 40, "b" * 40), ("a" * 40, "b" * 39 + "c"), ("a", "b" * 255), ("a", "b" * 254),
    ("1", ""), ("x-1", ""), ("ann---1175fe72", ""), ("ann", "{username}"), ("ann", "<b>"),
    ("", "a"),
]  # fmt: skip


@cache
def values() -> Any:
    """The example's values."""
    return yaml.safe_load((EXAMPLE / "values.yaml").read_text("utf-8"))


def value_of(path: str) -> Any:
    """One of the values, by the chart's way of naming it."""
    found = values()
    for part in path.split("."):
        found = found[part]
    return found


def paths(found: Any, handled: frozenset[str], above: str = "") -> Iterator[str]:
    """The ways to all the values, as far as somebody handles them or they end."""
    for key, value in found.items():
        path = f"{above}{key}"
        if isinstance(value, dict) and value and path not in handled:
            yield from paths(value, handled, f"{path}.")
        else:
            yield path


def chart() -> Config:
    """The configuration that the chart makes of the values, but for ``hub.extraConfig``."""
    config = Config()
    for path, setting in CHART.items():
        section, name = setting.split(".")
        config[section][name] = value_of(path)
    image, storage = values()["singleuser"]["image"], values()["singleuser"]["storage"]
    config.KubeSpawner.image = f"{image['name']}:{image['tag']}"
    assert storage["type"] == "dynamic"
    volume = storage["dynamic"]["volumeNameTemplate"]
    config.KubeSpawner.storage_pvc_ensure = True
    config.KubeSpawner.volumes = [
        {"name": volume, "persistentVolumeClaim": {"claimName": "{pvc_name}"}}
    ]
    config.KubeSpawner.volume_mounts = [{"mountPath": storage["homeMountPath"], "name": volume}]
    config.JupyterHub.load_roles = [
        {"name": name, **role} for name, role in values()["hub"]["loadRoles"].items()
    ]
    for section, settings in values()["hub"]["config"].items():
        config[section].update(settings)
    return config


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The whole configuration, ``hub.extraConfig`` run by JupyterHub's own loader."""
    return loaded(tmp_path_factory.mktemp("hub"))


def loaded(folder: Path) -> Config:
    """The configuration of a Hub whose file is the chart's, in this folder."""
    file = folder / "jupyterhub_config.py"
    file.write_text(LAST_LINES.format(extra=values()["hub"]["extraConfig"]), "utf-8")
    loader = PyFileConfigLoader(file.name, str(folder))
    loader.config = chart()
    with mock.patch.object(loader, "clear"):  # it would begin with an empty one
        config: Config = loader.load_config()
    return config


@pytest.fixture(autouse=True, scope="module")
def _no_cluster() -> Iterator[None]:
    pytest.importorskip("kubespawner")
    with (
        mock.patch("kubespawner.spawner.load_config"),
        mock.patch("kubespawner.spawner.shared_client"),
    ):
        yield


def kube(config: Config, user: str = "ann", server: str = "", **options: Any) -> Any:
    """The spawner of one server, made as JupyterHub makes it, and no cluster."""
    owner = mock.Mock(id=1, url=f"/user/{user}/", groups=[], admin=False)
    owner.name = user
    record = mock.Mock(server=None)
    record.name = server
    spawner = JupyterHub(config=config).spawner_class(
        _mock=True,
        config=config,
        user=owner,
        orm_spawner=record,
        oauth_client_id="-".join(["jupyterhub-user", user, *([server] if server else [])]),
    )
    spawner.api_token = "0" * 32
    spawner.user_options = options
    return spawner


async def pod_of(spawner: Any) -> Any:
    """The pod that would be made, after the choice was applied."""
    with mock.patch.object(spawner, "get_env", dict):
        await spawner.load_user_options()
        return await spawner.get_pod_manifest()


# ------------------------------------------------------------------------------- configuration


def test_every_value_is_the_charts() -> None:
    """Each value is one of which the chart makes something: a misspelt one would have no effect."""
    known = frozenset(CHART) | HANDLED
    assert set(paths(values(), known)) == known


def test_config_is_taken(config: Config) -> None:
    """What comes out names settings that there are, with values that they take."""
    hub = JupyterHub(config=config)
    spawner = kube(config)
    owners: Mapping[str, type[Configurable]] = {
        "JupyterHub": JupyterHub,
        "KubeSpawner": type(spawner),
        "Authenticator": Authenticator,
        "DummyAuthenticator": DummyAuthenticator,
    }
    for section, settings in config.items():
        assert set(settings) <= set(owners[section].class_trait_names(config=True)), section
    assert hub.allow_named_servers
    assert hub.named_server_limit_per_user == 5
    for role in hub.load_roles:
        assert set(role["scopes"]) <= set(scope_definitions)
        assert set(role["services"]) <= set(values()["hub"]["services"])


def test_an_earlier_kubespawner_is_refused(tmp_path: Path) -> None:
    """KubeSpawner 6 fails when the Hub starts, not at each start of a server."""
    with (
        mock.patch("kubespawner.KubeSpawner", type("KubeSpawner", (), {})),
        pytest.raises(RuntimeError, match="version 4 or newer of the chart"),
    ):
        loaded(tmp_path)


# ---------------------------------------------------------------------------------------- names


async def named(config: Config, user: str, server: str) -> dict[str, str]:
    """Every name that tells a server from others: of its pod, its files, its OAuth client."""
    spawner = kube(config, user, server)
    pod = await pod_of(spawner)
    (volume,) = pod.spec.volumes
    claim = spawner.get_pvc_manifest().metadata.name
    assert volume.persistent_volume_claim["claimName"] == claim
    assert [mount.name for mount in pod.spec.containers[0].volume_mounts] == [volume.name]
    return {
        "pod": pod.metadata.name,
        "claim": claim,
        "address": spawner.dns_name,
        "client": spawner.oauth_client_id,
    }


async def test_two_servers_of_one_user(config: Config) -> None:
    """Each has a pod and a claim of its own, and the default server has others again."""
    made = [await named(config, "ann", server) for server in ("", "exp-1", "exp-2")]
    assert [one["pod"] for one in made] == [
        "jupyter-ann", "jupyter-ann--exp-1", "jupyter-ann--exp-2",
    ]  # fmt: skip
    assert [one["claim"] for one in made] == ["claim-ann", "claim-ann--exp-1", "claim-ann--exp-2"]


@pytest.mark.parametrize("kind", ["pod", "claim", "address", "client"])
async def test_names_that_are_close_stay_apart(config: Config, kind: str) -> None:
    """No two servers share a pod, a claim, an address or an OAuth client, whatever their names."""
    made = {pair: (await named(config, *pair))[kind] for pair in CLOSE}
    for one, other in itertools.combinations(CLOSE, 2):
        assert made[one] != made[other], (one, other)


@few
@given(pairs, pairs)
def test_other_names_stay_apart(
    config: Config, one: tuple[str, str], other: tuple[str, str]
) -> None:
    """Names that Hypothesis makes up, as for our own: distinct, and Kubernetes takes them."""
    made = []
    for user, server in (one, other):
        if any("\ud800" <= letter <= "\udfff" for letter in user + server):
            return  # no database holds a lone surrogate
        spawner = kube(config, user, server)
        made.append((spawner.pod_name, spawner.pvc_name, spawner.oauth_client_id))
        for name in made[-1][:2]:
            assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)
    assert one == other or not set(made[0]) & set(made[1])


async def test_names_are_as_told(config: Config) -> None:
    """README's table has the names that KubeSpawner gives."""
    rows = re.findall(
        r"^\| `([\w@.]+)`, `?([\w -]+?)`? \| `(jupyter-.+?)` \| `(claim-.+?)` \|$",
        (EXAMPLE / "README.md").read_text("utf-8"),
        re.MULTILINE,
    )
    assert len(rows) == 3
    for user, server, pod, claim in rows:
        made = await named(config, user, "" if server == "default" else server)
        assert (made["pod"], made["claim"]) == (pod, claim)


async def test_removing_a_server_removes_its_claim_alone(config: Config) -> None:
    """``{"remove": true}`` deletes the files of this server, as with dockernamed."""
    spawner = kube(config, "ann", "exp-1")
    with mock.patch.object(spawner, "_make_delete_pvc_request", return_value=True) as delete:
        await spawner.delete_forever()
    (call,) = delete.call_args_list
    assert call.args[0] == "claim-ann--exp-1"


def test_a_database_of_ours(config: Config) -> None:
    """After the line of docs/swarm.md, KubeSpawner takes a server of ours for a new one.

    It would otherwise look for claims under the names that an earlier KubeSpawner gave, of which
    one may be the claim of another server.
    """
    (line,) = re.findall(r"```sql\n *(.*?)\n", SWARM_DOC.read_text("utf-8"))
    with new_session_factory("sqlite:///:memory:")() as session:
        user = User(name="ann-b")
        session.add(Spawner(user=user, name="", state={"volumes": {}}, user_options={"image": "r"}))
        session.commit()

        def warned() -> bool:
            spawner = kube(config, "ann-b")
            with mock.patch.object(spawner.log, "warning") as warning:
                spawner.load_state(session.query(Spawner).one().state or {})
            return "prior version of kubespawner" in str(warning.mock_calls)

        assert warned()
        session.execute(text(line))
        session.expire_all()
        assert not warned()
        assert session.query(Spawner).one().user_options == {"image": "r"}


# ------------------------------------------------------------------------------------- profiles


def ours(profile_list: Any) -> Any:
    """Our spawner, with the example's image and this list."""
    image = values()["singleuser"]["image"]
    spawner = DockerNamedSpawner(
        image=f"{image['name']}:{image['tag']}",
        mem_limit=values()["singleuser"]["memory"]["limit"],
        cpu_limit=values()["singleuser"]["cpu"]["limit"],
        profile_list=profile_list,
    )
    assert problems(spawner) == []
    spawner.user = mock.Mock(groups=[])
    spawner.user.name = "ann"
    return spawner


def choices(profile_list: Any) -> list[dict[str, Any]]:
    """What can be sent: each profile with each of its choices, free texts, and nothing at all."""
    sent: list[dict[str, Any]] = [{}]
    for profile in profile_list:
        slug = profile.get("slug") or re.sub(r"\W+", "-", profile["display_name"].lower())
        fields: list[list[tuple[str, str] | None]] = []
        for key, option in profile.get("profile_options", {}).items():
            field: list[tuple[str, str] | None] = [(key, one) for one in option.get("choices", ())]
            if option.get("unlisted_choice", {}).get("enabled"):
                field.append((f"{key}--unlisted-choice", "2025-01-31"))
            fields.append([None, *field])
        sent.extend(
            {"profile": slug, **dict(one for one in chosen if one)}
            for chosen in itertools.product(*fields)
        )
    return sent


COMPARED = ("image", "mem_limit", "cpu_limit", "environment", "default_url")
SENT = choices(value_of("singleuser.profileList"))


def test_all_is_compared() -> None:
    """There are the two profiles, and images by name and by free text."""
    assert len(SENT) == 14
    assert {"profile": "notebook", "image": "r", "size": "large"} in SENT
    assert {"profile": "notebook", "image--unlisted-choice": "2025-01-31"} in SENT


@pytest.mark.parametrize("sent", SENT, ids=json.dumps)
async def test_a_choice_means_the_same(config: Config, sent: dict[str, Any]) -> None:
    """The same options start the same image, with the same limits, there and here."""
    theirs = kube(config, **sent)
    here = ours(value_of("singleuser.profileList"))
    theirs.image = here.image = "neither/chose:this"
    pod = await pod_of(theirs)
    await Chooser(here).apply(sent)
    assert here.image != "neither/chose:this"
    assert {name: getattr(here, name) for name in COMPARED} == {
        name: getattr(theirs, name) for name in COMPARED
    }
    (container,) = pod.spec.containers
    assert container.image == here.image
    assert int(container.resources.limits["memory"]) == here.mem_limit
    # Kubernetes refuses a pod that is to have more than it may use.
    assert theirs.mem_guarantee <= theirs.mem_limit
    assert theirs.cpu_guarantee <= theirs.cpu_limit


async def test_curl_lines_mean_the_same(config: Config) -> None:
    """What README's lines send is taken by both, starts the same image, and more than one."""
    readme = (EXAMPLE / "README.md").read_text("utf-8")
    sent = [json.loads(body) for body in re.findall(r"servers/\S+ -d '(\{.*\})'", readme)]
    starts = [options for options in sent if options != {"remove": True}]
    images = set()
    for options in starts:
        theirs = kube(config, **options)
        pod = await pod_of(theirs)
        here = ours(value_of("singleuser.profileList"))
        await Chooser(here).apply(options)
        assert pod.spec.containers[0].image == here.image
        images.add(here.image)
    assert len(starts) == 5
    assert len(images) == 4


def test_readme_has_the_list_in_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """README's lines for our Hub give it the chart's list."""
    (lines,) = [code for kind, code in BLOCK.findall((EXAMPLE / "README.md").read_text("utf-8"))
                if kind == "python"]  # fmt: skip
    monkeypatch.chdir(EXAMPLE)
    config = Config()
    exec(lines, {"c": config})
    spawner = DockerNamedSpawner(config=config)
    assert problems(spawner) == []
    assert spawner.profile_list == value_of("singleuser.profileList")


def test_example_of_values_is_the_helm_line() -> None:
    """The line in ``values.yaml`` is README's."""
    readme = (EXAMPLE / "README.md").read_text("utf-8")
    (line,) = re.findall(r"^helm upgrade (.*?)$\n *(.*)$", readme, re.MULTILINE)
    head = (EXAMPLE / "values.yaml").read_text("utf-8")
    assert [part for part in line if part not in head] == []


def renamed(found: Any) -> Any:
    """A profile list of docs/profiles.md as README says to write it for KubeSpawner."""
    if isinstance(found, dict):
        return {
            "kubespawner_override" if key == "spawner_override" else key: renamed(value)
            for key, value in found.items()
        }
    return [renamed(one) for one in found] if isinstance(found, list) else found


@pytest.mark.parametrize("number", [1, 2])
async def test_lists_of_the_guide_mean_the_same(config: Config, number: int) -> None:
    """The lists of docs/profiles.md that KubeSpawner can express, renamed as README says."""
    chapter = PROFILES_DOC.read_text("utf-8").split(f"\n## {number}. ")[1].split("\n## ")[0]
    (_, code), *_ = BLOCK.findall(chapter)
    example = Config()
    exec(code, {"c": example})
    listed = example.DockerNamedSpawner.profile_list
    for sent in choices(listed):
        theirs = kube(config, **sent)
        theirs.profile_list = renamed(listed)
        await theirs.load_user_options()
        here = ours(listed)
        await Chooser(here).apply(sent)
        assert (here.image, here.mem_limit) == (theirs.image, theirs.mem_limit), sent
