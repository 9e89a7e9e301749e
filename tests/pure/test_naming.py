"""naming.py: exact names and slugs, and the guarantees over arbitrary Unicode."""

from __future__ import annotations

import re
from base64 import b32encode
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.names import LABEL, few, fields, key, many, pairs, texts, words

from dockernamed import naming
from dockernamed.errors import ConfigError, TemplateError
from dockernamed.naming import Key, object_name, object_name_for_hub, slug

HASH_END = re.compile(r"---[a-z2-7]{16}")

TEMPLATES = [
    naming.DEFAULT_TEMPLATE,
    "{username}",
    "{prefix}-{username}",
    "{username}-{servername}",
    "{prefix}-{servername}--{username}-nb",
    "{username}{servername}",
    "{username}x{servername}",
    "{prefix}-{user_server}",
    "nb-{safe_username}-x--y-{escaped_servername}-z",
    "{servername}",
    "{prefix}",
]

EXACT = [
    # plain names stay as they are
    ("ann", "", "jupyter-ann"),
    ("ann", "exp-1", "jupyter-ann--exp-1"),
    ("1", "2", "jupyter-1--2"),
    # one reading each
    ("a", "b-c", "jupyter-a--b-c"),
    ("a-b", "c", "jupyter-a-b--c"),
    ("a-b-c", "", "jupyter-a-b-c"),
    ("a--b", "", "jupyter-a-b---7yf44ah3mpejhvvi"),
    ("a", "-b", "jupyter-a--b---z5dkemwo5gcykdqu"),
    ("-a-", "b-", "jupyter-a--b---gf562kdndxweq4p2"),
    ("a_b", "", "jupyter-a-b---6p56pzdvtblmt7td"),
    ("a.b", "", "jupyter-a-b---ua27ghopqmrep2p2"),
    # empty
    ("", "", "jupyter---heh6vpdyny3j4vnz"),
    ("", "exp", "jupyter-exp---c46eoztuwy6vqfxl"),
    # upper case, spaces, addresses
    ("Ann", "", "jupyter-ann---qtrhe2cowf3tenss"),
    ("ann", "A", "jupyter-ann--a---5bxyxqgurmsdkxgu"),
    ("ann", "a", "jupyter-ann--a"),
    ("ann", "My Server", "jupyter-ann--my-server---z53f4olkwdyitjac"),
    ("ann@example.com", "x", "jupyter-ann-example-com--x---r7my6aoavltmblu7"),
    # beyond ASCII, also what Unicode would lower or decompose to ASCII
    ("\u597d", "", "jupyter---ty4vbklxklnfv3zc"),
    ("\u597d", "\u597d", "jupyter---6mlsiud74k7m6ude"),
    ("jos\xe9", "na\xefve", "jupyter-jos--na-ve---n5mxhjrhj5ikei3a"),
    ("\u2177", "\u212a", "jupyter---rjucuzdauzl6sdig"),
    ("\ud800", "\0", "jupyter---p6ghodu3tgyxnmps"),
    # look-alikes: braces, HTML, our own hashes and names
    ("{prefix}", "{username}", "jupyter-prefix--username---hgybiwjyrkqbjkot"),
    ("<b>ann</b>", "<script>", "jupyter-b-ann-b--script---3hh2lt2odguyeak2"),
    ("ann---tmu2jpotk3owfngc", "", "jupyter-ann-tmu2jpotk3owfngc---hkb7cwmgcrtwztek"),
    ("ann", "exp---tmu2jpotk3owfngc", "jupyter-ann--exp-tmu2jpotk3owfngc---dmlsszlggkdpcolm"),
    ("ann--exp-1", "", "jupyter-ann-exp-1---x3rel5egqpggxwx4"),
    ("jupyter---heh6vpdyny3j4vnz", "", "jupyter-jupyter-heh6vpdyny3j4vnz---n32w7tiw76iicseb"),
    # long: up to 63 characters as it is, then cut, the longer one first
    ("a" * 55, "", f"jupyter-{'a' * 55}"),
    ("a" * 56, "", f"jupyter-{'a' * 34}---aplb2w7frsglr3hr"),
    ("a" * 26, "b" * 27, f"jupyter-{'a' * 26}--{'b' * 27}"),
    ("a" * 26, "b" * 28, f"jupyter-{'a' * 17}--{'b' * 17}---metotra23m7jz4f2"),
    ("ann", "b" * 64, f"jupyter-ann--{'b' * 31}---oj2ugnkqyzpb4bjh"),
    ("a" * 64, "b" * 64, f"jupyter-{'a' * 17}--{'b' * 17}---d2brvzr23aaoe3xx"),
    ("a" * 255, "b" * 255, f"jupyter-{'a' * 17}--{'b' * 17}---ewg6z7onhqbomzf7"),
    ("a" * 255, "b", f"jupyter-{'a' * 33}--b---k55gufy2edco3jot"),
]

EXACT_SLUGS = [
    ("ann", "ann"),
    ("a-b", "a-b"),
    ("", "x---xj3iwmy73bwozab3"),
    ("-", "x---ypyqp2oeoea4gh7l"),
    ("Ann", "ann---eegtgkzd2nl3ywox"),
    ("ann ", "ann---6rxbulhvn6zeawf5"),
    ("a--b", "a-b---s6uwmx3swf4lw5mw"),
    ("\u597d", "x---qszncdo7n36gnokc"),
    ("\ud800", "x---upecajnzwo5bbkr4"),
    ("x---xj3iwmy73bwozab3", "x-xj3iwmy73bwozab3---lvpgerkwrsuh3z5j"),
    ("a" * 63, "a" * 63),
    ("a" * 64, f"{'a' * 44}---5eue7ynqd5fekgfy"),
]


# --- labels


def test_labels_hold_the_raw_key() -> None:
    """Labels carry the three raw values under the documented names."""
    assert naming.labels(Key("Hub 1", "Jos\xe9", "")) == {
        "dockernamed.hub": "Hub 1",
        "dockernamed.user": "Jos\xe9",
        "dockernamed.server": "",
    }


@given(texts, texts, texts)
@many
def test_key_survives_its_labels(hub: str, user: str, server: str) -> None:
    """The key read back from the labels is the one that was written, whatever is in it."""
    written = naming.labels(Key(hub, user, server))
    assert naming.key_of(written | {"other": "x"}) == Key(hub, user, server)


@pytest.mark.parametrize("missing", [naming.LABEL_HUB, naming.LABEL_USER, naming.LABEL_SERVER])
def test_an_object_without_all_our_labels_is_not_ours(missing: str) -> None:
    """An object that lacks one of the three labels, or has none at all, has no key."""
    found = naming.labels(key("ann", "exp"))
    del found[missing]
    assert naming.key_of(found) is None
    assert naming.key_of({}) is None
    assert naming.key_of(None) is None


# --- object names


@pytest.mark.parametrize(("user", "server", "name"), EXACT)
def test_exact_names(user: str, server: str, name: str) -> None:
    """These names are promised: a change would lose sight of what was made before."""
    assert object_name(key(user, server)) == name
    assert LABEL.fullmatch(name)
    assert len(name) <= 63


@pytest.mark.parametrize(("template", "user", "server", "name"), [
    ("{username}", "ann", "", "ann"),
    ("{username}", "ann", "exp", "ann---227mwp4iur2ixbjk"),
    ("{username}", "\u597d", "", "x---ty4vbklxklnfv3zc"),
    ("{username}-{servername}", "ann", "exp", "ann-exp"),
    ("{username}-{servername}", "ann", "exp-1", "ann-exp-1---cufso4wu7e5sgvyv"),
    ("{username}-{servername}", "ann", "", "ann"),
    ("{username}{servername}", "ann", "", "ann---635p6luqhvfckam3"),
    ("{prefix}-{servername}--{username}-nb", "ann", "exp", "jupyter-exp--ann-nb"),
    ("{prefix}-{servername}--{username}-nb", "ann", "", "jupyter-ann-nb"),
    ("{user_server}", "ann", "exp", "ann--exp"),
    ("{user_server}", "ann", "", "ann"),
    ("{servername}", "ann", "exp", "exp---227mwp4iur2ixbjk"),
    ("{prefix}", "ann", "", "jupyter---635p6luqhvfckam3"),
])  # fmt: skip
def test_exact_names_with_other_templates(template: str, user: str, server: str, name: str) -> None:
    """The text before an absent server name is dropped; a hash stands wherever two could meet."""
    assert object_name(key(user, server), template=template) == name


def test_the_hash_is_told() -> None:
    """80 bits of SHA-256 over the values, each after its length in bytes, in base32."""
    digest = sha256("3:Ann5:b\u597d ".encode()).digest()
    expected = b32encode(digest[:10]).decode().lower()
    assert object_name(key("Ann", "b\u597d ")) == f"jupyter-ann--b---{expected}"


def test_a_plain_name_is_the_same_for_every_hub() -> None:
    """The plain name doesn't depend on the Hub, so that it can be told to users."""
    assert object_name(key("ann", "exp", "one")) == object_name(key("ann", "exp", "two"))


def test_exact_names_with_the_hub() -> None:
    """The name taken when the plain one is somebody else's differs from Hub to Hub."""
    one = object_name_for_hub(key("ann", "exp", "hub-1"))
    two = object_name_for_hub(key("ann", "exp", "hub-2"), template="{username}")
    assert one == "jupyter-ann--exp---maj3gx6gn5uzdlkk"
    assert two == "ann---fbe3bkgb7d3dxsne"


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_two_short_names_meet(template: str) -> None:
    """Every pair of words over ``a - A`` up to 2 long, and over ``a -`` up to 4: all differ."""
    pool = {*words("a-A", 2), *words("a-", 4)}
    names = {object_name(key(u, s), template=template) for u in pool for s in pool}
    assert len(names) == len(pool) ** 2


@pytest.mark.parametrize("template", TEMPLATES)
@given(st.lists(pairs, min_size=2, max_size=12, unique=True))
@few
def test_no_two_names_meet(template: str, servers: list[tuple[str, str]]) -> None:
    """Different (user, server) never get one name, be it plain or the Hub's own."""
    names = [object_name(key(u, s), template=template) for u, s in servers]
    names += [object_name_for_hub(key(u, s), template=template) for u, s in servers]
    names += [object_name_for_hub(key(u, s, "hub-2"), template=template) for u, s in servers]
    assert len(set(names)) == 3 * len(servers)
    assert all(LABEL.fullmatch(name) and len(name) <= 63 for name in names)


@pytest.mark.parametrize("template", TEMPLATES)
@given(pairs)
@few
def test_a_name_cannot_be_taken_by_calling_oneself_so(
    template: str, server: tuple[str, str]
) -> None:
    """Whoever takes somebody's name, or the end of it, as user or server name gets another."""
    name = object_name(key(*server), template=template)
    tail = name.rpartition("---")[2]
    copies = [(name, ""), (tail, ""), (server[0], tail), (server[0], name), (name, server[1])]
    for copy in copies:
        if copy != server:
            assert object_name(key(*copy), template=template) != name


@given(pairs)
@many
def test_plain_and_hashed_never_share_a_form(server: tuple[str, str]) -> None:
    """``---`` occurs exactly once in a hashed name, at its place, and never in a plain one."""
    name = object_name(key(*server))
    readable, mark, _ = name.rpartition("---")
    assert not mark or (HASH_END.fullmatch(name[-19:]) and "---" not in readable)


@given(st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True), pairs)
@many
def test_any_plain_prefix_keeps_the_grammar(prefix: str, server: tuple[str, str]) -> None:
    """A prefix of up to 20 characters leaves room for everything else."""
    name = object_name(key(*server), prefix=prefix[:20].rstrip("-"))
    assert LABEL.fullmatch(name)
    assert len(name) <= 63


@pytest.mark.parametrize("prefix", ["", "J", "a_b", "-a", "a-", "a--b", "a" * 21, "a\n", "\xe9"])
def test_a_prefix_that_is_not_plain_is_refused(prefix: str) -> None:
    """The message names the setting and the value."""
    with pytest.raises(ConfigError, match="a-z and 0-9") as caught:
        object_name(key("ann", ""), prefix=prefix)
    assert (caught.value.field, caught.value.value) == ("prefix", prefix)


@pytest.mark.parametrize(("template", "hint"), [
    ("{prefix}-{imagename}-{username}", "no field {imagename}; known are {prefix}, {servername}"),
    ("{prefix}-{raw_username}", "no field {raw_username}"),
    ("{nope}", "no field {nope}"),
    ("{prefix.__class__}", "not just the name"),
    ("{username!r}", "not just the name"),
    ("{}", "not just the name"),
    ("{", "Single '{'"),
    ("Nb-{username}", "only a-z, 0-9 and '-'"),
    ("{prefix}_{username}", "only a-z, 0-9 and '-'"),
    ("{username}{{", "only a-z, 0-9 and '-'"),
    ("{username}---{servername}", "not '---'"),
    ("{username}-{servername}-", "begin and end"),
    ("-{username}", "begin and end"),
    ("{prefix}-", "begin and end"),
    ("", "begin and end"),
    ("{username}-{safe_username}", "twice"),
    ("{user_server}-{servername}", "twice"),
    (f"{'x' * 40}-{{username}}", "41 fixed characters"),
])  # fmt: skip
def test_a_name_template_that_cannot_work_is_refused(template: str, hint: str) -> None:
    """The message names the setting, the template and what is wrong with it."""
    with pytest.raises(TemplateError) as caught:
        object_name(key("ann", "exp"), template=template)
    assert (caught.value.field, caught.value.value) == ("name_template", template)
    assert hint in caught.value.hint


@pytest.mark.parametrize("template", ["x" * 40 + "{username}", "x" * 38 + "{user_server}"])
def test_the_longest_fixed_text_still_fits(template: str) -> None:
    """40 fixed characters leave room for a hash and something readable."""
    name = object_name(key("Ann" * 9, "Exp" * 9), template=template)
    assert len(name) <= 63
    assert LABEL.fullmatch(name)


# --- slugs and the namespace


@pytest.mark.parametrize(("text", "expected"), EXACT_SLUGS)
def test_exact_slugs(text: str, expected: str) -> None:
    """These slugs are promised: volumes carry them."""
    assert slug(text) == expected


@given(st.lists(texts, min_size=2, max_size=20, unique=True))
@many
def test_no_two_slugs_meet(values: list[str]) -> None:
    """Different texts have different slugs, all of them DNS labels; a slug's slug is not itself."""
    slugs = [slug(value) for value in values]
    assert len(set(slugs)) == len(values)
    assert all(LABEL.fullmatch(one) and len(one) <= 63 for one in slugs)
    assert all(slug(one) != one for one in slugs if "---" in one)


def test_the_whole_namespace() -> None:
    """Every documented field, with its aliases, and the caller's own."""
    found = fields("Ann", "b c", image="q.io:5/a:1@sha256:0", extra={"base_url": "/user/Ann/"})
    user, server = "ann---eegtgkzd2nl3ywox", "b-c---5nnsrop4zgh6rdm5"
    assert found == {
        "prefix": "jupyter",
        "hub_id": "hub",
        "imagename": "q.io-5-a-1-sha256-0",
        "user_server": "ann--b-c---ibjisugd6g7peywf",
        **dict.fromkeys(["username", "safe_username", "escaped_username"], user),
        **dict.fromkeys(["servername", "safe_servername", "escaped_servername"], server),
        **dict.fromkeys(["raw_username", "unescaped_username"], "Ann"),
        **dict.fromkeys(["raw_servername", "unescaped_servername"], "b c"),
        "base_url": "/user/Ann/",
    }


def test_the_default_server_in_the_namespace() -> None:
    """An absent server name stays empty, and the pair is the user alone."""
    for user in ("ann", "Ann", ""):
        found = fields(user, "")
        assert found["servername"] == found["raw_servername"] == ""
        assert found["user_server"] == found["username"] == slug(user)


@given(st.lists(pairs, min_size=2, max_size=12, unique=True))
@many
def test_no_two_servers_share_user_server(servers: list[tuple[str, str]]) -> None:
    """``{user_server}`` tells all servers apart and is a DNS label."""
    found = [fields(user, server)["user_server"] for user, server in servers]
    assert len(set(found)) == len(servers)
    assert all(LABEL.fullmatch(one) and len(one) <= 63 for one in found)


# --- OAuth clients -----------------------------------------------------------------------------

CLIENTS = [
    ("ann", "", "ann"),
    ("ann", "exp-1", "ann!exp-1"),
    ("a", "b-c", "a!b-c"),
    ("a-b", "c", "a-b!c"),
    ("a-b-c", "", "a-b-c"),
    ("a!b", "c", "a%21b!c"),
    ("a", "b!c", "a!b%21c"),
    ("a%21b", "c", "a%2521b!c"),
    ("ann@example.com", "na\xefve", "ann%40example.com!na%C3%AFve"),
]


@pytest.mark.parametrize(("user", "server", "client"), CLIENTS)
def test_exact_oauth_clients(user: str, server: str, client: str) -> None:
    """Servers that run keep theirs over versions, and no two have one, as JupyterHub's own would:
    that is one for ('a', 'b-c') and ('a-b', 'c'), and the second spawn would die.
    """
    assert naming.oauth_client_id(user, server) == f"jupyterhub-user-{client}"
    assert [one for *_, one in CLIENTS].count(client) == 1
