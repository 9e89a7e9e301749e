"""Which volumes a server gets, under which names, and whose they are."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.volumes import OWN, VolumePlan, plan_volumes, requested_volumes
from dockernamed.errors import ConfigError, ForeignObject, TemplateError

KEY = naming.Key("hub", "ann", "exp-1")
OWN_NAME = "{prefix}-{user_server}.{hub_id}"


def plan(
    key: naming.Key = KEY,
    prefix: str = "jupyter",
    home: str = "/home/jovyan",
    remembered: Mapping[str, str] | None = None,
    taken: Container[str] = (),
    elsewhere: Container[str] = (),
    **settings: Any,
) -> VolumePlan:
    """The mounts of a server by some settings about files."""
    namespace = naming.namespace(key, prefix=prefix)
    settings.setdefault("server_volume", OWN_NAME)
    return plan_volumes(
        requested_volumes(namespace, **settings),
        key,
        home=home,
        remembered=remembered or {},
        taken=taken,
        elsewhere=elsewhere,
    )


def test_a_server_gets_a_volume_of_its_own_at_home() -> None:
    """By default files in the image's working directory survive, labelled as this server's."""
    found = plan()
    (mount,) = found.mounts
    assert (mount.kind, mount.source, mount.target) == (
        "volume", "jupyter-ann--exp-1.hub", "/home/jovyan",
    )  # fmt: skip
    assert mount.labels == naming.labels(KEY)
    assert found.owners == {mount.source: naming.labels(KEY)}
    assert found.remembered == {OWN: mount.source}


@pytest.mark.parametrize("home", ["", "/", "//", "/./"])
def test_never_at_the_root(home: str) -> None:
    """An image without a working directory gets no volume: it would hide the whole image."""
    assert plan(home=home).mounts == ()


def test_the_admins_mount_at_home_replaces_it() -> None:
    """Where ``volumes`` covers the home already, no second volume is put there."""
    found = plan(volumes={"home-{username}": "/home/jovyan/"})
    assert [mount.source for mount in found.mounts] == ["home-ann"]


def test_two_hubs_never_share_a_default_volume() -> None:
    """The Hub's id is part of the default name."""
    other = plan(naming.Key("other", "ann", "exp-1")).mounts[0].source
    assert other != plan().mounts[0].source


def test_a_changed_prefix_keeps_the_files() -> None:
    """The remembered name wins over the template, and the log says so."""
    first = plan()
    second = plan(prefix="new", remembered=first.remembered)
    assert second.mounts[0].source == first.mounts[0].source
    assert "keeping volume" in second.notes[0]


def test_a_volume_named_for_all_follows_the_setting() -> None:
    """Without a user in its name a volume is the admin's to change."""
    found = plan(server_volume="", volumes={"course-26": "/c"}, remembered={"/c": "course-25"})
    assert found.mounts[0].source == "course-26"
    assert found.mounts[0].labels == {naming.LABEL_HUB: "hub"}
    assert found.remembered == {}


def test_a_users_volume_is_not_one_servers() -> None:
    """A volume named by the user alone is labelled with the user and no server."""
    found = plan(server_volume="", volumes={"home-{username}": "/h"})
    assert found.owners["home-ann"] == {naming.LABEL_HUB: "hub", naming.LABEL_USER: "ann"}


def test_a_remembered_volume_may_carry_an_earlier_name_of_its_server() -> None:
    """After a rename the labels say the old name: only the Hub is checked."""
    found = plan(remembered={OWN: "jupyter-ann--old.hub"})
    assert found.mounts[0].source == "jupyter-ann--old.hub"
    assert found.owners == {"jupyter-ann--old.hub": {naming.LABEL_HUB: "hub"}}


def test_a_name_that_a_renamed_server_took_along_is_not_given_twice() -> None:
    """exp-1 renamed to exp-2 keeps its volume; a new exp-1 gets another one."""
    taken = {"jupyter-ann--exp-1.hub", "jupyter-ann--exp-1.hub.2"}
    assert plan(taken=taken).mounts[0].source == "jupyter-ann--exp-1.hub.3"


def test_a_users_volume_is_shared_with_no_user_of_that_name() -> None:
    """The user's own servers share it; one that another user has kept from before is not ours."""
    volumes = {"home-{username}": "/h"}
    cases: tuple[tuple[set[str], set[str], str], ...] = (
        ({"home-ann"}, set(), "home-ann"),
        ({"home-ann"}, {"home-ann"}, "home-ann.2"),
    )
    for taken, elsewhere, name in cases:
        found = plan(server_volume="", volumes=volumes, taken=taken, elsewhere=elsewhere)
        assert found.mounts[0].source == name


def test_unknown_fields_are_named() -> None:
    """A typing error in a template is an error, not a volume called by it."""
    with pytest.raises(TemplateError, match="usrname"):
        plan(volumes={"home-{usrname}": "/h"})


def test_targets_and_modes_are_templates_too() -> None:
    """The path in the container may name the user."""
    found = plan(
        volumes={"v": {"bind": "/home/{username}", "mode": "ro"}},
        read_only_volumes={"/srv": "/data/{servername}"},
    )
    assert [mount.target for mount in found.mounts[1:]] == ["/home/ann", "/data/exp-1"]
    assert all("ro" in mount.flags for mount in found.mounts[1:])


def test_a_host_directory_must_tell_servers_apart() -> None:
    """Two (user, server) pairs must not meet in one directory: there is no label to check."""
    with pytest.raises(TemplateError, match="user_server"):
        plan(volumes={"/srv/{username}-{servername}": "/h"})


def test_a_raw_name_cannot_leave_its_directory() -> None:
    """A user called ``../eve`` does not get another user's directory."""
    with pytest.raises(TemplateError, match="raw_username"):
        plan(naming.Key("hub", "../eve", ""), volumes={"/home/{raw_username}": "/h"})


def test_mounts_in_the_long_form() -> None:
    """Templates work in ``mounts`` too; a volume there is labelled like any other."""
    found = plan(
        server_volume="",
        mounts=[
            {"source": "m-{user_server}", "target": "/m"},
            {"type": "bind", "source": "/srv/{username}", "target": "/b"},
            {"type": "tmpfs", "target": "/t"},
        ],
    )
    assert [mount.source for mount in found.mounts] == ["m-ann--exp-1", "/srv/ann", ""]
    assert found.mounts[0].labels == naming.labels(KEY)
    assert found.mounts[1].labels == {}


def test_a_mount_that_is_no_dict_is_refused() -> None:
    """The message says what would have worked."""
    with pytest.raises(ConfigError, match="dict with type"):
        plan(mounts=["v:/m"])


def test_two_mounts_at_one_path_are_refused() -> None:
    """Also when they come from different settings."""
    with pytest.raises(ConfigError, match="mounted there"):
        plan(volumes={"a": "/x"}, read_only_volumes={"b": "/x/"})


# --- names that were chosen --------------------------------------------------------------------


def chosen_volume(template: str, choice: str, remembered: dict[str, str]) -> dict[str, str]:
    """What is remembered after a start with a volume that a choice named."""
    namespace = naming.namespace(KEY, prefix="jupyter")
    requested = requested_volumes(
        namespace, volumes={template: "/data"}, chosen={template: choice} if choice else {}
    )
    found = plan_volumes(requested, KEY, home="", remembered=remembered)
    return {**remembered, **found.remembered, "mounted": found.mounts[0].source}


def test_a_choice_wins_over_what_is_remembered() -> None:
    """Whoever switches from one profile to another gets its volume, and gets the first back."""
    state = chosen_volume("proj-a-{username}", "profile 'a'", {})
    assert state["mounted"] == "proj-a-ann"
    state = chosen_volume("proj-b-{username}", "profile 'b'", state)
    assert state["mounted"] == "proj-b-ann"
    state = chosen_volume("proj-a-{username}", "profile 'a'", state)
    assert state["mounted"] == "proj-a-ann"


def test_a_changed_setting_loses_against_what_is_remembered() -> None:
    """Also within a profile: the files of whoever chose it are where they were."""
    state = chosen_volume("old-{username}", "profile 'a'", {})
    assert chosen_volume("new-{username}", "profile 'a'", state)["mounted"] == "old-ann"
    state = chosen_volume("old-{username}", "", {})
    assert chosen_volume("new-{username}", "", state)["mounted"] == "old-ann"


# --- further arguments -------------------------------------------------------------------------


def test_mounts_of_further_arguments_obey_the_same_rules() -> None:
    """Binds and Mount objects are labelled, remembered and made distinct like ``volumes``."""
    found = plan(
        server_volume="",
        binds=["home-{username}:/home:ro,z", "/srv/{user_server}:/data", "/scratch"],
        api_mounts=[
            {"Type": "volume", "Source": "m-{user_server}", "Target": "/m", "ReadOnly": True},
            {"Type": "bind", "Source": "/srv/{username}", "Target": "/b"},
            {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 9}},
        ],
    )
    assert [(mount.kind, mount.source, mount.target) for mount in found.mounts] == [
        ("volume", "home-ann", "/home"),
        ("bind", "/srv/ann--exp-1", "/data"),
        ("volume", "", "/scratch"),
        ("volume", "m-ann--exp-1", "/m"),
        ("bind", "/srv/ann", "/b"),
        ("tmpfs", "", "/t"),
    ]
    assert found.mounts[0].to_bind() == "home-ann:/home:ro,z"
    assert found.mounts[3].labels == naming.labels(KEY)
    assert found.mounts[3].to_api()["ReadOnly"] is True
    assert found.mounts[4].to_api() == {
        "Type": "bind", "Source": "/srv/ann", "Target": "/b", "BindOptions": {},
    }  # fmt: skip
    assert found.mounts[5].to_api()["TmpfsOptions"] == {"SizeBytes": 9}
    assert found.remembered == {"/home": "home-ann", "/m": "m-ann--exp-1"}
    assert (
        plan(remembered={"/home": "old"}, binds=["home-{username}:/home"]).mounts[1].source == "old"
    )


def test_flags_of_other_engines_stay() -> None:
    """Podman's ``U`` and the like exist as strings only."""
    found = plan(server_volume="", binds=["v-{username}:/v:U", "/srv:/b:exec,rslave"])
    assert [mount.to_bind() for mount in found.mounts if mount.is_bind_string] == [
        "v-ann:/v:U",
        "/srv:/b:exec,rslave",
    ]


def test_where_in_a_volume_stays_as_asked() -> None:
    """Options that we know nothing of reach the Engine: a path in the volume, a driver."""
    options = {"Subpath": "{username}", "DriverConfig": {"Name": "nfs", "Options": {"o": "rw"}}}
    body = {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": options}
    (mount,) = plan(server_volume="", api_mounts=[body]).mounts
    sent = mount.to_api()["VolumeOptions"]
    assert sent["Subpath"] == "ann"
    assert sent["DriverConfig"] == {"Name": "nfs", "Options": {"o": "rw"}}


AMBIGUOUS = [
    "/srv/{username}-{servername}",
    "/srv/{username}{servername}",
    "/srv/{raw_username}-{raw_servername}",
    "/srv/{username}-{imagename}",
    "/srv/{user_server}--{imagename}",
]


@pytest.mark.parametrize("path", AMBIGUOUS)
def test_two_servers_never_get_one_path(path: str) -> None:
    """``a`` with a server ``b`` must not get the files of ``a-b``, whichever setting says so."""
    volume = {"Type": "volume", "Source": "v", "Target": "/x"}
    for asked in (
        {"volumes": {path: "/x"}},
        {"read_only_volumes": {path: "/x"}},
        {"mounts": [{"type": "bind", "source": path, "target": "/x"}]},
        {
            "mounts": [
                {"source": "v", "target": "/x", "driver_config": {"options": {"device": path}}}
            ]
        },
        {"binds": [f"{path}:/x"]},
        {"api_mounts": [{"Type": "bind", "Source": path, "Target": "/x"}]},
        {"api_mounts": [{**volume, "VolumeOptions": {"Subpath": path.lstrip("/")}}]},
        {"api_mounts": [{**volume, "VolumeOptions": {"DriverConfig": {"Options": {"d": path}}}}]},
    ):
        with pytest.raises(TemplateError, match=r"so close together|need a '/'"):
            plan(**asked)


@pytest.mark.parametrize("path", ["/srv/{username}/{imagename}", "/srv/{username}_{imagename}"])
def test_what_is_told_apart_is_fine(path: str) -> None:
    """A slash, or what is in none of the two names."""
    plan(volumes={path: "/x"})


def test_a_field_never_leads_up() -> None:
    """JupyterHub 5 takes ``..`` for a server's name, which is in ``{base_url}`` as it is."""
    key = naming.Key("hub", "ann", "..")
    fields = naming.namespace(key, prefix="jupyter", extra={"base_url": "/user/ann/../"})
    for asked in ({"volumes": {"/srv{base_url}": "/x"}}, {"binds": ["/srv{base_url}:/x"]}):
        with pytest.raises(TemplateError, match="leads to another directory"):
            requested_volumes(fields, **asked)
    with pytest.raises(TemplateError, match=r"so close together|leads to another"):
        requested_volumes(fields, volumes={"{base_url}..": "/x"})


@pytest.mark.parametrize("bind", ["a:/b:ro:x", "a:b", "a/b:/c"])
def test_binds_that_docker_would_refuse(bind: str) -> None:
    """With the setting that has them."""
    with pytest.raises(ConfigError, match="extra_host_config"):
        plan(binds=[bind])


# --- whose -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"volumes": {"data": "/d"}},
        {"read_only_volumes": {"data": "/d"}},
        {"mounts": [{"source": "data", "target": "/d"}]},
        {"binds": ["data:/d"]},
        {"api_mounts": [{"Type": "volume", "Source": "data", "Target": "/d"}]},
    ],
)
def test_what_is_for_everybody_is_nobodys_own(asked: dict[str, Any]) -> None:
    """A volume without a field in its name: no user's labels, and in nobody's memory."""
    whose = {naming.LABEL_HUB: "hub", naming.LABEL_USER: "ann"}
    assert plan(server_volume="", **asked).owners == {"data": whose}
    with pytest.raises(ForeignObject, match="another user of this Hub"):
        plan(server_volume="", taken={"data"}, elsewhere={"data"}, **asked)


def test_an_earlier_name_of_the_user_is_in_the_labels() -> None:
    """What this server, or another of the same user, is remembered to have is the user's."""
    asked = {"server_volume": "", "volumes": {"data": "/d"}}
    for known in ({"remembered": {OWN: "data"}}, {"taken": {"data"}}):
        found = plan(**asked, **known)  # type: ignore[arg-type]  # names of settings
        assert found.owners == {"data": {naming.LABEL_HUB: "hub"}}


# --- names with the image ----------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["server_volume", "volumes", "mounts"])
def test_a_name_with_the_image_in_it(setting: str) -> None:
    """The image is a choice: each has its own volume there, under its own name."""
    template = "{username}-{imagename}"
    value = {
        "server_volume": template,
        "volumes": {template: "/data"},
        "mounts": [{"type": "volume", "source": template, "target": "/data"}],
    }[setting]
    remembered: dict[str, str] = {}
    sources = []
    for image in ("lab:1", "lab:2", "lab:1"):
        namespace = naming.namespace(KEY, prefix="jupyter", image=image)
        requested = requested_volumes(namespace, **{setting: value})  # type: ignore[arg-type]  # one of three
        found = plan_volumes(requested, KEY, home="/home", remembered=remembered)
        remembered |= found.remembered
        sources.append(found.mounts[0].source)
    assert sources == ["ann-lab-1", "ann-lab-2", "ann-lab-1"]
