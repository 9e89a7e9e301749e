"""The chooser: callables called, groups heeded, and a choice set on the spawner, in order."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from unittest import mock

import pytest
from jupyterhub.traitlets import ByteSpecification
from traitlets import Any as AnyTrait
from traitlets import Dict, Float, HasTraits, Unicode

from dockernamed import naming
from dockernamed.desired.volumes import requested_volumes
from dockernamed.errors import ConfigError, EngineUnavailable, OptionsError
from dockernamed.options import chooser
from dockernamed.options.chooser import Chooser
from dockernamed.timings import Timings


class Settings(HasTraits):
    """A spawner's settings, as far as a choice is concerned."""

    image = Unicode("lab").tag(config=True)
    mem_limit = ByteSpecification(None, allow_none=True).tag(config=True)
    cpu_limit = Float(None, allow_none=True).tag(config=True)
    environment: Any = Dict({"BASE": "1"}).tag(config=True)
    extra_host_config = AnyTrait({}).tag(config=True)
    volumes = Dict({}).tag(config=True)
    allowed_images = AnyTrait({}).tag(config=True)
    allowed_registries = AnyTrait(None, allow_none=True).tag(config=True)
    registry_credentials = AnyTrait({}).tag(config=True)
    profile_list = AnyTrait([]).tag(config=True)
    common_options = AnyTrait({}).tag(config=True)
    group_overrides = AnyTrait({}).tag(config=True)
    profile_form_template = Unicode("").tag(config=True)
    additional_profile_form_template_paths = AnyTrait(()).tag(config=True)

    log = logging.getLogger("test")
    _log_name = "ann:lab"
    name = "lab"

    def __init__(self, *groups: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.user = mock.Mock(groups=[])
        self.user.name = "ann"
        for name in groups:
            group = mock.Mock()
            group.name = name
            self.user.groups.append(group)
        self.user_options: dict[str, Any] = {}


def profile(**entry: Any) -> dict[str, Any]:
    """A profile with a name."""
    return {"display_name": "A", **entry}


async def chosen(settings: Settings, **user_options: Any) -> Settings:
    """The settings after a choice."""
    await Chooser(settings).apply(user_options)
    return settings


async def later(value: Any) -> Any:
    """What an async callable gives."""
    return value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: value,
        lambda value: lambda spawner: value,
        lambda value: lambda spawner: later(value),
    ],
    ids=["plain", "callable", "async"],
)
async def test_settings_may_be_callables(wrap: Any) -> None:
    """Profiles, common options, images, group overrides and overrides: plain, called or awaited."""
    number = {"number": {"min": 1, "max": 2, "spawner_override": {"cpu_limit": "{value}"}}}
    settings = Settings(
        "staff",
        profile_list=wrap([profile(spawner_override={"mem_limit": wrap("2G")})]),
        common_options=wrap({"cpu": number}),
        allowed_images=wrap({"lab": "quay.io/lab", "r": "quay.io/r"}),
        group_overrides=wrap({"x": {"groups": ["staff"], "spawner_override": {}}}),
    )
    await chosen(settings, profile="a", cpu=2, image="r")
    assert (settings.mem_limit, settings.cpu_limit, settings.image) == (2**31, 2, "quay.io/r")


async def test_callables_are_given_the_spawner_as_it_is_by_then() -> None:
    """An override's callable sees what the layers before it have set."""
    choices = {"x": {"spawner_override": {"environment": lambda s: {"MEM": s.mem_limit}}}}
    options = {"o": {"choices": choices}}
    override = {"mem_limit": lambda spawner: f"{len(spawner.user.name)}G"}
    profiles = [profile(spawner_override=override, profile_options=options)]
    settings = await chosen(Settings(profile_list=profiles))
    assert settings.environment == {"BASE": "1", "MEM": 3 * 2**30}


@pytest.mark.parametrize("operation", ["apply", "form", "schema"])
async def test_callables_are_called_once(operation: str) -> None:
    """Each of them once for a start, a form or a schema: two calls could give two answers."""
    calls: list[str] = []

    def answering(name: str, value: Any) -> Any:
        def answer(spawner: Any) -> Any:
            calls.append(name)
            return later(value)

        return answer

    offered = {
        "allowed_images": {"lab": "lab:1"},
        "profile_list": [profile()],
        "common_options": {"o": {"display_name": "O", "choices": {"x": {}}}},
        "group_overrides": {},
    }
    settings = Settings(**{name: answering(name, value) for name, value in offered.items()})
    work: Any = getattr(Chooser(settings), operation)
    await (work({"image": "lab"}) if operation == "apply" else work())
    assert sorted(calls) == sorted(offered)


async def test_dicts_are_merged_over_what_a_callable_gives() -> None:
    """Else a profile would undo what the admin's callable has set for everybody."""
    settings = Settings(
        extra_host_config=lambda spawner: {"cap_drop": ["ALL"]},
        profile_list=[profile(spawner_override={"extra_host_config": {"shm_size": "1g"}})],
    )
    await chosen(settings)
    assert settings.extra_host_config == {"cap_drop": ["ALL"], "shm_size": "1g"}


async def test_nothing_leaks_into_the_configuration() -> None:
    """What one start sets is not there at the next: profiles are not changed, nor shared."""
    profiles = [profile(spawner_override={"environment": {"NESTED": {"a": ["x"]}}})]
    settings = await chosen(Settings(profile_list=profiles))
    settings.environment["NESTED"]["a"].append("y")
    settings.environment["NESTED"]["b"] = 1
    assert profiles == [profile(spawner_override={"environment": {"NESTED": {"a": ["x"]}}})]


async def test_order_of_group_overrides_and_choices() -> None:
    """The setting, the groups' overrides (by JupyterHub), the profile, its options, the image."""
    choices = {"x": {"spawner_override": {"environment": {"WHO": "option", "O": "1"}}}}
    override = {"environment": {"WHO": "profile", "P": "1"}, "image": "from-profile"}
    settings = Settings(
        allowed_images=["plain"],
        profile_list=[
            profile(spawner_override=override, profile_options={"o": {"choices": choices}})
        ],
    )
    settings.environment = {"WHO": "group", "G": "1"}  # as JupyterHub leaves it
    await chosen(settings, image="plain")
    assert settings.environment == {"WHO": "option", "G": "1", "P": "1", "O": "1"}
    assert settings.image == "plain"


async def test_group_overrides_of_what_may_be_chosen() -> None:
    """They count for the form and the schema too, which JupyterHub makes without them."""
    more = {"b": profile(display_name="B")}
    settings = Settings(
        "staff",
        profile_list={"a": profile()},
        allowed_images=["lab"],
        group_overrides={
            "2": {"groups": ["staff"], "spawner_override": {"profile_list": lambda s: more}},
            "1": {"groups": ["staff", "x"], "spawner_override": {"allowed_images": ["r"]}},
            "3": {"groups": ["other"], "spawner_override": {"allowed_images": ["no"]}},
        },
    )
    schema = await Chooser(settings).schema()
    assert [one["properties"]["profile"]["const"] for one in schema["anyOf"]] == ["a", "b"]
    assert schema["anyOf"][0]["properties"]["image"]["anyOf"][0] == {"const": "r"}
    assert schema["title"] == "user_options of ann"


async def test_access_by_user_and_group() -> None:
    """Enforced on what is sent, whatever the form shows."""
    settings = {
        "profile_list": [
            profile(allowed_users=["ben"]),
            profile(display_name="B", allowed_groups=["staff"]),
            profile(display_name="C"),
        ],
        "allowed_images": {"lab": "lab", "gpu": {"image": "gpu", "allowed_groups": ["staff"]}},
    }
    await chosen(Settings("staff", **settings), profile="b", image="gpu")
    for groups, sent in (
        (["staff"], {"profile": "a"}),
        (["other"], {"profile": "b"}),
        ([], {"image": "gpu"}),
    ):
        with pytest.raises(OptionsError):
            await chosen(Settings(*groups, **settings), **sent)


async def test_aliases_of_images() -> None:
    """The default image and a profile's may be aliases, also ones that this user cannot name."""
    aliases = {"lab": "quay.io/lab", "gpu": {"image": "quay.io/gpu", "allowed_users": []}}
    assert (await chosen(Settings(allowed_images=aliases))).image == "quay.io/lab"
    profiles = [profile(spawner_override={"image": "gpu"})]
    settings = Settings(allowed_images=aliases, profile_list=profiles)
    assert (await chosen(settings)).image == "quay.io/gpu"


async def test_what_a_user_types_is_no_alias() -> None:
    """A text that happens to be an alias means what it says to Docker."""
    free = {"enabled": True, "spawner_override": {"image": "{value}"}}
    settings = Settings(
        allowed_images={"gpu": {"image": "quay.io/gpu", "allowed_users": []}},
        common_options={"i": {"unlisted_choice": free}},
    )
    await chosen(settings, **{"i--unlisted-choice": "gpu"})
    assert settings.image == "gpu"


async def test_a_setting_that_refuses_what_a_user_typed() -> None:
    """It is the user's error, with the key; a callable's is the admin's."""
    free = {"enabled": True, "spawner_override": {"mem_limit": "{value}"}}
    settings = Settings(common_options={"mem": {"unlisted_choice": free}})
    with pytest.raises(OptionsError, match=r"mem--unlisted-choice = 'much': the setting mem_limit"):
        await chosen(settings, **{"mem--unlisted-choice": "much"})
    profiles = [profile(spawner_override={"mem_limit": lambda spawner: "much"})]
    with pytest.raises(ConfigError, match=r"mem_limit \(by profile 'a'\) = 'much'"):
        await chosen(Settings(profile_list=profiles))


async def test_the_form() -> None:
    """The saved options begin it; when they are no longer valid, it says why."""
    settings = Settings(profile_list=[profile(), profile(display_name="B")])
    assert 'value="a"' in await Chooser(settings).form()
    settings.user_options = {"profile": "gone"}
    assert "not a profile that you may choose" in await Chooser(settings).form()
    assert await Chooser(Settings()).form() == ""


async def test_the_admins_template() -> None:
    """A template's text, as KubeSpawner's setting of that name."""
    settings = Settings(profile_list=[profile()])
    settings.profile_form_template = "{{ profile_list[0].slug }}!"
    assert await Chooser(settings).form() == "a!"


async def test_the_form_says_which_images_are_there() -> None:
    """Of those that the Engine lists."""
    settings = Settings(allowed_images=["lab", "r"])
    form = await Chooser(settings, lambda: later(["lab:latest"])).form()
    assert "lab (ready)" in form
    assert "r (will be pulled first)" in form


@pytest.mark.parametrize("late", [True, False])
async def test_the_form_does_without_the_engine(late: bool) -> None:
    """An Engine that is gone or slow takes nothing from the form but those words."""

    async def listed() -> list[str]:
        if late:
            await asyncio.Event().wait()
        raise EngineUnavailable("list images", "gone")

    settings, timings = Settings(allowed_images=["lab"]), Timings(list_images=0.01)
    form = await Chooser(settings, listed, timings).form()
    assert "lab" in form
    assert "ready" not in form
    assert "pulled" not in form


async def test_fields_of_a_form() -> None:
    """They become options by this user's menu."""
    settings = Settings(profile_list=[profile(profile_options={"o": {"choices": {"x": {}}}})])
    fields = {"profile": ["a"], "profile-option-a--o": ["x"]}
    assert await Chooser(settings).from_form(fields) == {"profile": "a", "o": "x"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"profile_list": [profile(spawner_override={"mem_limit": "much"})]}, "mem_limit"),
        ({"profile_list": [profile(spawner_override={"environment": "x"})]}, "environment"),
        ({"common_options": {"o": {"choises": {}}}}, "choises"),
        ({"profile_list": [profile(spawner_override={"node_selector": {}})]}, "placement_con"),
        ({"profile_list": [profile(profile_options={"o": {}})]}, "nothing to choose"),
        ({"common_options": {"o": {"choices": {"x": {"default": 1}}}}}, "True or False"),
        ({"allowed_images": {"lab": {"image": "Lab"}}}, "lower case"),
        ({"allowed_images": ["Lab"]}, "lower case"),
        ({"allowed_images": {"lab": {"images": "lab"}}}, "unknown key"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    """They are refused before anybody asks."""
    (problem,) = chooser.problems(Settings(**settings))
    assert message in str(problem)


def test_settings_that_may_work() -> None:
    """What only a request can tell is left to it, and nothing is changed by looking."""
    override = {"environment": {"A": None}, "mem_limit": "1G", "cpu_limit": lambda spawner: "x"}
    settings = Settings(
        profile_list=[profile(spawner_override=override)],
        common_options=lambda spawner: "?",
        allowed_images=lambda spawner: "?",
    )
    assert chooser.problems(settings) == []
    assert settings.environment == {"BASE": "1"}
    computed = Settings(profile_list=lambda spawner: "?", allowed_images="*")
    assert chooser.problems(computed) == []


def test_images_that_may_be_needed() -> None:
    """All that the settings name, aliases as what they stand for; what is computed is not asked."""
    override = {"spawner_override": {"image": "gpu"}}
    settings = Settings(
        allowed_images={"lab": "quay.io/lab", "gpu": {"image": "quay.io/gpu", "allowed_users": []}},
        profile_list=[profile(profile_options={"o": {"choices": {"x": override}}})],
        common_options={"c": {"choices": {"y": {"spawner_override": {"image": "r"}}}}},
    )
    assert chooser.images(settings) == ["quay.io/gpu", "quay.io/lab", "r"]
    assert chooser.images(Settings(profile_list=lambda spawner: "?")) == ["lab"]


async def test_a_name_in_a_callables_value_is_no_template() -> None:
    """A user called ``{servername}`` who names a server ``bob`` does not get Bob's directory."""

    def volumes(spawner: Any) -> dict[str, str]:
        return {f"/srv/{spawner.user.name}": "/data/{servername}"}

    def arguments(spawner: Any) -> dict[str, Any]:
        return {"binds": [f"/srv/{spawner.user.name}:/data/{{servername}}"]}

    override = {"volumes": volumes, "extra_host_config": arguments}
    settings = Settings(profile_list=[profile(spawner_override=override)])
    settings.user.name = "{username}"
    await chosen(settings)
    key = naming.Key("hub", "{username}", "bob")
    fields = naming.namespace(key, prefix="jupyter")
    for asked in (
        requested_volumes(fields, volumes=settings.volumes),
        requested_volumes(fields, binds=settings.extra_host_config["binds"]),
    ):
        (one,) = asked.mounts
        assert (one.mount.source, one.mount.target) == ("/srv/{username}", "/data/bob")
