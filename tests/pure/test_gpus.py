"""GPUs: which there are, whose they are, and the request that gives a container those alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed.desired.environment import Environment
from dockernamed.desired.gpus import (
    check_alone,
    checked_devices,
    choose,
    device_requests,
    gpu_environment,
    ids_in,
    listed_by,
    names_to_ask_for,
)
from dockernamed.desired.spec import ServerSpec, container_config, drift, spec_hash
from dockernamed.errors import ConfigError, LimitReached, OptionsError
from dockernamed.naming import LABEL_GPUS, Key

SPEC = ServerSpec(Key("hub", "ann", "exp"), ("jupyter-ann--exp",), "lab")
ENV = Environment()


def cdi(*names: str) -> dict[str, Any]:
    """What an Engine tells that has devices by the Container Device Interface."""
    return {"DiscoveredDevices": [{"Source": "cdi", "ID": name} for name in names]}


# --- which there are -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, []),
        ({"DiscoveredDevices": None, "GenericResources": None}, []),
        ({"Runtimes": {"nvidia": {}}}, []),
        (
            cdi("nvidia.com/gpu=10", "nvidia.com/gpu=2", "nvidia.com/gpu=all"),
            ["nvidia.com/gpu=2", "nvidia.com/gpu=10"],
        ),
        # One GPU by two names.
        (cdi("nvidia.com/gpu=0", "nvidia.com/gpu=GPU-4a-b1"), ["nvidia.com/gpu=0"]),
        (cdi("nvidia.com/gpu=GPU-4a-b1", "nvidia.com/gpu=all"), ["nvidia.com/gpu=GPU-4a-b1"]),
        # A GPU in parts, and the whole of it.
        (
            cdi("nvidia.com/gpu=0", "nvidia.com/gpu=0:1", "nvidia.com/gpu=0:0", "nvidia.com/gpu=1"),
            ["nvidia.com/gpu=0:0", "nvidia.com/gpu=0:1", "nvidia.com/gpu=1"],
        ),
        (cdi("amd.com/gpu=0", "vendor.com/nic=0", "odd"), ["amd.com/gpu=0"]),
        (
            {
                "GenericResources": [
                    {"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-1"}},
                    {"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}},
                ]
            },
            ["GPU-1"],
        ),
    ],
)
def test_what_the_engine_tells_of(info: dict[str, Any], expected: list[str]) -> None:
    """Each GPU once, in the order of its numbers; ``all`` is no GPU."""
    assert listed_by(info) == expected


def test_cdi_names_are_asked_for_where_the_engine_has_them() -> None:
    """Whatever form the setting has; an id stays one where it has no such name."""
    info = cdi("nvidia.com/gpu=0", "nvidia.com/gpu=all")
    assert names_to_ask_for(["0", "1"], info) == {"0": "nvidia.com/gpu=0", "1": "1"}
    assert names_to_ask_for(["nvidia.com/gpu=1"], info) == {"1": "nvidia.com/gpu=1"}
    assert names_to_ask_for([], info) == {"0": "nvidia.com/gpu=0"}
    assert names_to_ask_for(["0"], {}) == {"0": "0"}


@pytest.mark.parametrize(
    "names", [["all"], ["nvidia.com/gpu=all"], [""], ["0,1"], ["0", "0"], ["0", "nvidia.com/gpu=0"]]
)
def test_devices_that_are_not_one_gpu_each(names: list[str]) -> None:
    """All of them at once, and one twice, would be given to several servers."""
    with pytest.raises(ConfigError, match="gpu_devices"):
        checked_devices(names)


# --- whose they are ------------------------------------------------------------------------------

DEVICES = {"0": "nvidia.com/gpu=0", "1": "1", "2": "2"}


def test_earlier_ones_are_given_again() -> None:
    """What a kept container has, if nobody else has it by now."""
    assert choose(1, DEVICES, {}, ["2"], {}) == ("2",)
    assert choose(2, DEVICES, {"2": "bob"}, ["2", "1"], {}) == ("0", "1")
    assert choose(1, DEVICES, {}, ["7"], {}) == ("0",)


def test_none_left() -> None:
    """The one who asks learns of no other user; the log has all."""
    taken = {"0": "server 'a' of user 'ann'", "1": "server 'b' of user 'bob'", "2": "eve's"}
    with pytest.raises(LimitReached) as caught:
        choose(1, DEVICES, taken, [], {"'a'": 1})
    assert str(caught.value).startswith("gpus = 1: all GPUs are in use (of your servers: 'a' 1)")
    assert "bob" not in str(caught.value)
    assert (
        caught.value.log
        == "GPU 0: server 'a' of user 'ann'; GPU 1: server 'b' of user 'bob'; GPU 2: eve's"
    )


def test_too_few_left() -> None:
    """How many are free is told, since fewer might do."""
    with pytest.raises(LimitReached, match=r"1 of 3 GPUs free \(none by your servers\), and"):
        choose(2, DEVICES, {"0": "x", "1": "y"}, [], {})


def test_never_so_many() -> None:
    """Waiting does not help."""
    with pytest.raises(OptionsError, match="there are 3 GPUs"):
        choose(4, DEVICES, {}, [], {})


def test_nobody_knows_of_any() -> None:
    """The admin is told what is needed."""
    with pytest.raises(ConfigError, match=r"gpu_devices.*container toolkit"):
        choose(1, {}, {}, [], {})


@given(
    st.integers(1, 5),
    st.lists(st.sampled_from("01234"), unique=True),
    st.sets(st.sampled_from("0123456")),
    st.lists(st.sampled_from("0123456")),
)
def test_a_gpu_is_never_given_twice(
    count: int, devices: list[str], taken: set[str], earlier: list[str]
) -> None:
    """As many as were asked for, of those that there are, and none that somebody has; or none."""
    try:
        ids = choose(count, {one: one for one in devices}, dict.fromkeys(taken, "x"), earlier, {})
    except LimitReached:
        assert len(set(devices) - taken) < count <= len(devices)
    except OptionsError:
        assert count > len(devices)
    except ConfigError:
        assert not devices
    else:
        assert len(set(ids)) == count
        assert set(ids) <= set(devices) - taken
        again = set(earlier) & (set(devices) - taken)
        assert len(set(ids) & again) == min(count, len(again))


# --- the request ---------------------------------------------------------------------------------


def test_the_request() -> None:
    """Ids go to NVIDIA's driver, CDI names to the Engine itself, and each alone."""
    nvidia = {"Driver": "nvidia", "DeviceIDs": ["1"], "Capabilities": [["gpu"]]}
    by_cdi = {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}
    assert device_requests(["nvidia.com/gpu=0"]) == [by_cdi]
    assert device_requests(["1"]) == [nvidia]
    assert device_requests(["nvidia.com/gpu=0", "1"]) == [nvidia, by_cdi]
    body = container_config(replace(SPEC, gpus=("nvidia.com/gpu=0", "1")), ENV)
    assert body["HostConfig"]["DeviceRequests"] == [nvidia, by_cdi]
    assert body["Labels"][LABEL_GPUS] == "0,1"
    assert ids_in(body["HostConfig"]) == ["1", "0"]


def test_without_gpus_the_request_is_as_ever() -> None:
    """No label, no empty list."""
    body = container_config(SPEC, ENV)
    assert "DeviceRequests" not in body["HostConfig"]
    assert LABEL_GPUS not in body["Labels"]


def test_other_devices_are_asked_for_beside() -> None:
    """The admin's own requests, of devices that are no GPUs."""
    own = {"Driver": "cdi", "DeviceIDs": ["vendor.com/nic=0"]}
    spec = replace(SPEC, gpus=("1",), host_config={"DeviceRequests": [own]})
    assert own in container_config(spec, ENV)["HostConfig"]["DeviceRequests"]
    check_alone(spec.host_config, "gpus", 1)


@pytest.mark.parametrize(
    "request_",
    [
        {"Count": -1, "Capabilities": [["gpu"]]},
        {"Count": 1, "Driver": "nvidia"},
        {"Driver": "", "DeviceIDs": ["0"], "Capabilities": [["nvidia", "gpu"]]},
        {"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]},
        {"Driver": "cdi", "DeviceIDs": ["amd.com/gpu=0"]},
    ],
)
def test_requests_by_hand_are_refused(request_: dict[str, Any]) -> None:
    """They would give out again what a server has for itself."""
    with pytest.raises(ConfigError, match=r"device_requests.*gpus = 2 gives each server"):
        check_alone({"DeviceRequests": [request_]}, "gpus", 2)


def test_what_an_image_asks_for_is_not_given() -> None:
    """Where NVIDIA's runtime is the Engine's default, an image may ask for all GPUs."""
    assert gpu_environment([], given_out=False) == {}
    assert gpu_environment([], given_out=True) == {"NVIDIA_VISIBLE_DEVICES": "void"}
    assert gpu_environment(["nvidia.com/gpu=0"], given_out=True) == {
        "NVIDIA_VISIBLE_DEVICES": "void"
    }
    assert gpu_environment(["0"], given_out=True) == {}


def test_a_kept_container_with_other_gpus_is_replaced_with_the_cause() -> None:
    """It has those that it was made with, for good; without GPUs nothing changes."""
    without, with_0 = spec_hash(SPEC, ENV), spec_hash(replace(SPEC, gpus=("0",)), ENV)
    with_1 = spec_hash(replace(SPEC, gpus=("1",)), ENV)
    assert drift(with_0, with_1) == drift(without, with_0) == drift(with_0, without) == ["gpus"]
    assert drift(without, without) == []
    assert "gpus" not in without
