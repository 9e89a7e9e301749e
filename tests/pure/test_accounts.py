"""Who a server's processes are, and where they can write."""

from __future__ import annotations

import pytest

from dockernamed.desired.accounts import (
    Account,
    Directory,
    account_of,
    is_root,
    needs_group,
    needs_passwd,
    not_writable,
)

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
jovyan:x:1000:100::/home/jovyan:/bin/sh
# a comment
broken:x
"""
GROUP = "root:x:0:\nusers:x:100:\nlab:x:2000:jovyan\n"


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0)),
        ("root", (0, 0)),
        ("jovyan", (1000, 100)),
        ("1000", (1000, 100)),
        ("1000:2000", (1000, 2000)),
        ("jovyan:lab", (1000, 2000)),
        ("jovyan:0", (1000, 0)),
        (":100", (0, 100)),
        ("4711", (4711, 0)),
        ("nobody", None),
        ("broken", None),
        ("jovyan:nogroup", None),
    ],
)
def test_who_a_user_is(user: str, expected: tuple[int, int] | None) -> None:
    """As Docker reads it: by name or number, with the group of the files or a given one."""
    account = account_of(user, [5], passwd=PASSWD, group=GROUP)
    assert account == (None if expected is None else Account(*expected, frozenset({5})))


@pytest.mark.parametrize(
    ("user", "passwd", "group"),
    [
        ("1000:100", False, False),
        ("1000", True, False),
        ("jovyan", True, False),
        ("jovyan:100", True, False),
        ("1000:users", False, True),
    ],
)
def test_which_files_tell(user: str, passwd: bool, group: bool) -> None:
    """None is read that says nothing that is not known already."""
    assert (needs_passwd(user), needs_group(user)) == (passwd, group)


@pytest.mark.parametrize(
    ("user", "root"),
    [
        ("", True),
        ("root", True),
        ("0:0", True),
        ("root:users", True),
        ("1000", False),
        ("a", False),
    ],
)
def test_root(user: str, root: bool) -> None:
    """By either of its names, whatever its group."""
    assert is_root(user) is root


@pytest.mark.parametrize(
    ("directory", "writable"),
    [
        ((1000, 0, 0o755), True),
        ((1000, 0, 0o555), False),
        ((1000, 100, 0o577), False),  # the owner's own permissions count alone
        ((0, 0, 0o755), False),
        ((0, 100, 0o775), True),
        ((0, 100, 0o765), False),
        ((0, 2000, 0o770), True),
        ((0, 0, 0o777), True),
        ((0, 100, 0o707), False),
    ],
)
def test_where_somebody_can_write(directory: tuple[int, int, int], writable: bool) -> None:
    """By the first of owner, group and others that fits, with write and search permission."""
    account = Account(1000, 100, frozenset({2000}))
    assert Directory(*directory).writable_by(account) is writable
    assert Directory(*directory).writable_by(Account(0, 0))


def test_a_directory_that_is_given() -> None:
    """The new owner can write; what others were allowed stays, and so does the set-group bit."""
    given = Directory(0, 0, 0o2555).given_to(Account(1000, 100))
    assert given == Directory(1000, 100, 0o2755)
    assert given.writable_by(Account(1000, 100))


def test_what_people_are_told() -> None:
    """The directory, whose it is, who cannot write, and the settings that help."""
    told = not_writable("/home/ann", Directory(501, 20, 0o750), Account(1000, 100))
    for part in ("/home/ann", "uid 1000", "uid 501 and gid 20", "0750", "DockerNamedSpawner.uid"):
        assert part in told
