"""Tokens and secrets: where they are delivered, and that they are nowhere else."""

from __future__ import annotations

import io
import json
import logging
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from support.driving import MakeHub, env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, Container, FakeEngine
from support.stage import ARCHIVE, IMAGE, contents, running
from support.stub_hub import Hub, of_server

from dockernamed.desired.private import ENV_FILE, FILES_DIR, PRIVATE_DIR

SECRET = "c0rrect-horse"
KEY = "-----BEGIN KEY-----\nb4ttery-staple\n-----END KEY-----\n"
HOME = "/home/jovyan"


@pytest.fixture
def container(fake: FakeEngine) -> Callable[[], Container]:
    """Gives the container of the only server."""

    def find() -> Container:
        (found,) = of_server(fake, "exp-1")
        return found

    return find


def entries(container: Container) -> dict[str, tarfile.TarInfo]:
    """All that was put into a container, by path."""
    found = {}
    for base, data in container.archives or ():
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found.update({f"{base.rstrip('/')}/{entry.name}": entry for entry in archive})
    return found


def shown(hub: Hub, container: Container, caplog: pytest.LogCaptureFixture) -> str:
    """All that others than the server see: the Engine's answers, the Hub's database, its log."""
    rows = [row.state for row in hub.db.query(orm.Spawner)]
    options = [row.user_options for row in hub.db.query(orm.Spawner)]
    engine = [container.inspect(), container.listed(), container.labels]
    return json.dumps([rows, options, engine], default=str) + caplog.text


# --- where they come from ----------------------------------------------------------------------


async def of_auth_state(spawner: Any) -> dict[str, Any]:
    state = await spawner.user.get_auth_state()
    return {"A": state["access_token"], "GONE": state.get("nothing")}


async def later(spawner: Any) -> str:
    return SECRET


def by_hook(spawner: Any) -> None:
    spawner.secret_environment = {"A": SECRET}


PROFILE = {"profile_list": [{"display_name": "x", "spawner_override": {
    "secret_environment": {"A": lambda spawner: SECRET}}}]}  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"secret_environment": {"A": SECRET}},
        {"secret_environment": {"A": later, "GONE": lambda spawner: None}},
        {"secret_environment": of_auth_state},
        {"secret_environment": {"A": SECRET}, "environment": {"A": "of all"}},
        {"pre_spawn_hook": by_hook},
        PROFILE,
    ],
    ids=["setting", "callable", "auth_state", "over environment", "hook", "profile"],
)
async def test_a_secret_variable(
    make_hub: MakeHub,
    container: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    settings: Mapping[str, Any],
    fake: FakeEngine,
) -> None:
    """Wherever it comes from: the server has it, and nobody else sees it, nor the tokens."""

    async def auth_state(user: object) -> dict[str, str]:
        return {"access_token": SECRET}

    caplog.set_level(logging.DEBUG)
    hub = make_hub(**settings)
    monkeypatch.setattr(type(hub.user()), "get_auth_state", auth_state)
    spawner = await hub.spawn("exp-1")
    env = env_of(fake)
    assert (env["A"], "GONE" in env) == (SECRET, False)
    assert env["JUPYTERHUB_API_TOKEN"] == env["JPY_API_TOKEN"] == spawner.api_token
    seen = shown(hub, container(), caplog)
    assert SECRET not in seen
    assert spawner.api_token not in seen
    assert "JUPYTERHUB_SERVICE_PREFIX" in seen  # for health checks, and docker exec
    await hub.stop("exp-1")
    assert fake.anonymous_volumes == {}


async def test_secrets_of_the_hubs_files(
    make_hub: MakeHub,
    container: Any,
    tmp_path: Path,
    fake: FakeEngine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Read at each start: a password without the end of its line, a key as it is."""
    (tmp_path / "password").write_text(f"{SECRET}\n")
    (tmp_path / "key").write_bytes(b"\0\xff" + KEY.encode())
    hub = make_hub(
        secret_environment={"A": tmp_path / "password"},
        secret_files={"/etc/key": {"content": tmp_path / "key", "mode": 0o440}},
    )
    await hub.spawn("exp-1")
    assert env_of(fake)["A"] == SECRET
    assert contents(container())["/etc/key"] == b"\0\xff" + KEY.encode()
    await hub.stop("exp-1")
    (tmp_path / "password").unlink()
    error = message(await refused(hub))
    assert "secret_environment" in error
    assert f"{tmp_path / 'password'}" not in error
    assert f"'{tmp_path / 'password'}': the Hub cannot read this file" in caplog.text


# --- files -------------------------------------------------------------------------------------


async def test_secret_files(
    make_hub: MakeHub, container: Any, caplog: pytest.LogCaptureFixture, fake: FakeEngine
) -> None:
    """Their content is in the private volume, for the server's user alone; links lead there."""
    caplog.set_level(logging.DEBUG)
    fake.add_image(IMAGE, {"User": "1000", "WorkingDir": HOME})
    fake.filesystem.image[HOME] = (1000, 100, 0o755)
    hub = make_hub(
        secret_files={
            f"{HOME}/.ssh/id": KEY,
            "/etc/x": {"content": lambda spawner: b"1", "mode": 0o444, "uid": 0, "gid": 5},
            f"{FILES_DIR}/y": later,
            "/etc/none": lambda spawner: None,
        }
    )
    await hub.spawn("exp-1")
    found = entries(container())
    key = found[f"{FILES_DIR}{HOME}/.ssh/id"]
    assert (key.uid, key.gid, key.mode) == (1000, 0, 0o400)
    link = found[f"{HOME}/.ssh/id"]
    assert (link.issym(), link.linkname) == (True, f"{FILES_DIR}{HOME}/.ssh/id")
    # The Engine would make this directory root's.
    assert (found[f"{HOME}/.ssh"].isdir(), found[f"{HOME}/.ssh"].uid) == (True, 1000)
    assert HOME not in found
    other = found[f"{FILES_DIR}/etc/x"]
    assert (other.uid, other.gid, other.mode) == (0, 5, 0o444)
    assert "/etc/none" not in found
    files = contents(container())
    assert files[f"{HOME}/.ssh/id"] == KEY.encode()
    assert files[f"{FILES_DIR}/y"] == SECRET.encode()
    seen = shown(hub, container(), caplog)
    assert "b4ttery" not in seen
    assert SECRET not in seen
    # Nothing of it is where the container's own layer or a user's volume would have it.
    for base, data in container().archives:
        assert base == PRIVATE_DIR or b"b4ttery" not in data


@pytest.mark.parametrize(
    ("path", "settings", "why"),
    [
        ("/etc/key", {}, "read-only"),
        ("/scratch/key", {"mounts": [{"type": "tmpfs", "target": "/scratch"}]}, "tmpfs"),
        ("/data/key", {"read_only_volumes": {"data": "/data"}}, "read-only"),
        ("/data", {"volumes": {"data": "/data"}}, "there is a mount"),
    ],
)
async def test_where_no_file_can_be(
    make_hub: MakeHub,
    fake: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    path: str,
    settings: dict[str, Any],
    why: str,
) -> None:
    """It is told before anything is made, in the log with the directory that always works."""
    hub = make_hub(secret_files={path: KEY}, extra_host_config={"read_only": True}, **settings)
    error = message(await refused(hub))
    assert "secret_files" in error
    assert f"secret_files['{path}']" in caplog.text
    assert why in caplog.text
    assert "b4ttery" not in error + caplog.text
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_read_only_container(make_hub: MakeHub, container: Any, fake: FakeEngine) -> None:
    """It takes tokens and files in volumes, and can be kept and used again."""
    fake.add_image(IMAGE, {"User": "1000", "WorkingDir": HOME})
    hub = make_hub(
        remove=False,
        extra_host_config={"read_only": True},
        secret_files={f"{HOME}/key": KEY, f"{FILES_DIR}/key": KEY},
    )
    await hub.spawn("exp-1")
    first = container()
    assert {base for base, _ in first.archives} == {PRIVATE_DIR, HOME}
    await hub.stop("exp-1")
    spawner = await hub.spawn("exp-1")
    assert container().id == first.id
    assert env_of(fake)["JUPYTERHUB_API_TOKEN"] == spawner.api_token


# --- images ------------------------------------------------------------------------------------


async def test_an_image_without_a_shell(
    make_hub: MakeHub, container: Any, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tokens are in its environment, as ever; secret files come; a variable is refused."""
    caplog.set_level(logging.INFO)
    fake.remove_shell()
    hub = make_hub(secret_files={"/etc/key": KEY})
    for _ in range(2):
        await hub.spawn("exp-1")
        assert "Entrypoint" not in container().config
        assert "JUPYTERHUB_API_TOKEN" in str(container().config["Env"])
        assert contents(container())["/etc/key"] == KEY.encode()
        await hub.stop("exp-1")
    assert f"{IMAGE} has no /bin/sh" in caplog.text
    assert fake.count("HEAD", ".*/archive") == 3  # /etc is looked for twice, and the shell once
    error = message(await refused(make_hub(secret_environment={"A": SECRET})))
    assert "secret_environment" in error
    assert f"the image '{IMAGE}' has no /bin/sh" in caplog.text
    assert SECRET not in error + caplog.text
    assert fake.containers == []
    assert fake.anonymous_volumes == {}


@pytest.mark.parametrize(
    ("image", "settings", "why"),
    [
        ({"Env": ["a.b=x"]}, {}, "a.b"),
        ({}, {"environment": {"a-b": "x"}}, "a-b"),
        ({"Cmd": None}, {}, "command is not known"),
        ({}, {"pull_policy": "skip", "image": "unseen:1"}, "command is not known"),
    ],
)
async def test_an_environment_that_no_shell_takes(
    make_hub: MakeHub,
    fake: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    image: Any,
    settings: Any,
    why: str,
) -> None:
    """A secret is refused rather than shown, and the log says which variable is in the way."""
    fake.add_image(IMAGE, {"Cmd": ["lab"], **image})
    error = message(await refused(make_hub(secret_environment={"A": SECRET}, **settings)))
    assert "secret_environment" in error
    assert why in caplog.text
    assert SECRET not in error + caplog.text
    assert fake.containers == []


@pytest.mark.parametrize(
    ("user", "uid"), [("", 0), ("jovyan", 1000), ("1001", 1001), ("1001:100", 1001)]
)
async def test_whose_the_variables_are(
    make_hub: MakeHub, container: Any, fake: FakeEngine, user: str, uid: int
) -> None:
    """The server's user's alone, who is looked up in the image where it has a name."""
    fake.filesystem.texts["/etc/passwd"] = "jovyan:x:1000:100::/home/jovyan:/bin/sh\n"
    fake.add_image(IMAGE, {"User": user})
    await make_hub().spawn("exp-1")
    entry = entries(container())[ENV_FILE]
    assert (entry.uid, entry.mode) == (uid, 0o400)


async def test_nobody_is_told_of_an_image_by_what_a_user_wrote(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """Who a kept container's user is, as its own files say, is never taken for the image's."""
    passwd = "jovyan:x:1000:100::/home/jovyan:/bin/sh\n"
    fake.filesystem.texts["/etc/passwd"] = passwd
    fake.add_image(IMAGE, {"User": "jovyan"})
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    await hub.restart()
    fake.filesystem.texts["/etc/passwd"] = passwd.replace("1000", "666")
    await hub.spawn("exp-1")
    fake.filesystem.texts["/etc/passwd"] = passwd
    await hub.spawn("another")
    (other,) = of_server(fake, "another")
    assert entries(other)[ENV_FILE].uid == 1000


# --- what it costs, and without it -------------------------------------------------------------


async def test_what_tokens_cost(make_hub: MakeHub, fake: FakeEngine) -> None:
    """One request more per start; what is learned of the image is asked once."""
    fake.filesystem.texts["/etc/passwd"] = "jovyan:x:1000:100::/home/jovyan:/bin/sh\n"
    fake.add_image(IMAGE, {"User": "jovyan"})
    costs = []
    for hub in (make_hub(), make_hub(private_tokens=False)):
        for _ in range(2):
            await hub.spawn("exp-1")
            done = len(fake.requests)
            await hub.stop("exp-1")
            await hub.spawn("exp-1")
            asked = fake.requests[done:]
            # The watcher's own lists come when they come.
            costs.append([path for _, path in asked if not path.endswith("/containers/json")])
            await hub.stop("exp-1")
    private, plain = ([call.split("/")[-1] for call in asked[2:]] for asked in costs[1::2])
    assert private == ["create", "archive", "start", "json"]
    assert plain == ["create", "start", "json"]


async def test_tokens_that_are_not_private(
    make_hub: MakeHub, container: Any, fake: FakeEngine
) -> None:
    """With ``private_tokens = False`` the container is as its image says; secrets stay secret."""
    spawner = await make_hub(private_tokens=False).spawn("exp-1")
    config = container().config
    assert f"JUPYTERHUB_API_TOKEN={spawner.api_token}" in config["Env"]
    assert "Entrypoint" not in config
    assert fake.anonymous_volumes == {}
    assert fake.count(*ARCHIVE) == 0


# --- what is said ------------------------------------------------------------------------------


async def test_secrets_in_the_log_of_a_crash(hub: Hub, fake: FakeEngine) -> None:
    """A server that prints what it was given and dies shows none of it to the page."""
    hub.config = {
        "secret_environment": {"PLAIN_NAME": SECRET},
        "secret_files": {"/etc/key": KEY},
    }
    fake.behave(Behaviour(serve="refuse"))
    starting = hub.spawning("exp-1")
    await eventually(lambda: running(fake))
    token = env_of(fake)["JUPYTERHUB_API_TOKEN"]
    log = f"I have {SECRET}\nand\n{KEY}and {token}\n"
    fake.die(running(fake)[0].id, 1, log=log)
    with pytest.raises(Exception, match="exit code 1") as caught:
        await starting
    text = message(caught.value)
    assert "I have [hidden]" in text
    assert not any(word in text for word in (SECRET, "b4ttery-staple", token))


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"secret_environment": lambda spawner: [SECRET]}, "secret_environment"),
        ({"secret_environment": lambda spawner: {"A": [SECRET]}}, "secret_environment['A']"),
        ({"secret_environment": lambda spawner: {"A": f"{SECRET}\0"}}, "secret_environment['A']"),
        ({"secret_environment": lambda spawner: {"A": SECRET * 20_000}}, "secret_environment['A']"),
        ({"secret_files": lambda spawner: {"/a": 1}}, "secret_files['/a']"),
        ({"secret_files": lambda spawner: {"/a": SECRET, "/a/b": SECRET}}, "secret_files['/a']"),
        ({"secret_files": lambda spawner: {"/a/../b": SECRET}}, "secret_files['/a/../b']"),
    ],
)
async def test_what_a_callable_must_not_return(
    make_hub: MakeHub, fake: FakeEngine, caplog: Any, settings: Any, field: str
) -> None:
    """The start is refused before anything is made; the log names the place, and no value."""
    error = message(await refused(make_hub(**settings)))
    assert field.partition("[")[0] in error
    assert f"{field} = '[hidden]'" in caplog.text
    assert SECRET not in error + caplog.text
    assert (fake.containers, fake.volumes) == ([], {})
