"""Every setting, declared and documented. No behaviour.

Names and meanings are DockerSpawner's wherever the meaning is the same. Each help text gives the
unit where there is one, and an example.
"""

from __future__ import annotations

import jupyterhub
from jupyterhub.traitlets import ByteSpecification, Callable, Command
from traitlets import (
    Bool,
    CaselessStrEnum,
    Dict,
    Enum,
    Float,
    Integer,
    List,
    Unicode,
    Union,
)
from traitlets.config import Configurable

from .desired.hardening import DEFAULT, LEVELS
from .desired.unsafe import UNSAFE

_HUB_LINE = ".".join(jupyterhub.__version__.split(".")[:2])

_TEMPLATES = (
    "Template fields: {username}, {servername}, {user_server}, {raw_username}, {raw_servername}, "
    "{prefix}, {hub_id}, {imagename} and {base_url}; any other is an error."
)


class DockerNamedSettings(Configurable):
    """The settings of :class:`dockernamed.DockerNamedSpawner`, as traits."""

    # --- the image -------------------------------------------------------------------------

    image = Unicode(
        f"quay.io/jupyterhub/singleuser:{_HUB_LINE}",
        help="""The image of servers whose user chose no other: a reference, or an alias from
        `allowed_images`. Example: `"quay.io/jupyter/scipy-notebook:2025-01-01"`.""",
    ).tag(config=True)

    allowed_images = Union(
        [Unicode(), List(Unicode()), Dict(), Callable()],
        default_value=[],
        help="""The images that a user may choose for a server, in the form or over REST
        (`{"image": "lab"}`): a list of references, a dict of alias → reference, `"*"` for any
        image, or a callable that takes the spawner and returns one of these (it may be async).
        Empty: users cannot choose an image. A dict's values may also be dicts with `image`,
        `display_name`, `allowed_users` and `allowed_groups`. With `"*"` users run what they like,
        every image on the Engine included, whoever pulled or built it, and fill its disk by pulls;
        ids of images are refused unless a list or dict has them. See docs/security.md.
        Example: `{"lab": "quay.io/jupyter/base-notebook", "r": "quay.io/jupyter/r-notebook"}`.
        """,
    ).tag(config=True)

    profile_list = Union(
        [List(Dict()), Dict(), Callable()],
        default_value=[],
        help="""The profiles that a user may choose from, as KubeSpawner 7 defines them: a list of
        dicts, a dict of dicts (sorted by its keys), or a callable that takes the spawner and
        returns one of these (it may be async). See docs/profiles.md. Example:
        `[{"display_name": "Small", "spawner_override": {"mem_limit": "1G"}}]`.""",
    ).tag(config=True)

    common_options = Union(
        [Dict(), Callable()],
        help="""Options that are offered with every profile, or on their own without profiles: a
        dict like a profile's `profile_options`, or a callable that takes the spawner and returns
        one (it may be async). A profile's own option of the same name replaces the common one.
        Example: `{"cpu": {"display_name": "CPUs", "number": {"min": 1, "max": 4,
        "step": 1, "spawner_override": {"cpu_limit": "{value}"}}}}`.""",
    ).tag(config=True)

    profile_form_template = Unicode(
        "",
        help="""Text of a Jinja2 template for the options form, used instead of a file. Its
        variables are those of KubeSpawner: profile_list, user_options. Example:
        `"{% for profile in profile_list %}…{% endfor %}"`.""",
    ).tag(config=True)

    additional_profile_form_template_paths = List(
        Unicode(),
        help="""Directories that are searched for `form.html`, the template of the options form,
        before the package's own. Example: `["/etc/jupyterhub/templates"]`.""",
    ).tag(config=True)

    allowed_registries = Union(
        [Unicode(), List(Unicode())],
        default_value=None,
        allow_none=True,
        help="""The registries that users may name where they can write the reference of an image
        (`allowed_images = "*"`, or a profile's unlisted choice): a list of hosts, with a port
        unless it is 443, or `"*"` for any. None: those of the images in this configuration and of
        `registry_credentials`, and Docker Hub, `docker.io`. The Engine connects to what users
        name, so with `"*"` they can have it look for services in its network.
        Example: `["quay.io", "registry.example:5000"]`.""",
    ).tag(config=True)

    pull_policy = CaselessStrEnum(
        ["always", "ifnotpresent", "never", "skip"],
        default_value="ifnotpresent",
        help="""When to pull the image before a start: `always`; `ifnotpresent`; `never` (a
        missing image is an error); `skip` (leave it to the Engine, if it pulls by itself).
        Example: `"always"`, for tags that move.""",
    ).tag(config=True)

    pull_timeout = Float(
        1800.0,
        min=0,
        help="""Seconds that a pull may take. They do not count against `start_timeout`.
        Example: `3600.0`.""",
    ).tag(config=True)

    registry_credentials = Union(
        [Dict(), Unicode(), Callable()],
        default_value={},
        help="""Credentials of private registries: registry host with its port → a dict of username
        and password (or identitytoken); or the path of a JSON file of that form or of Docker's
        config.json, read at each pull; or a callable that takes the spawner and returns the dict
        (it may be async). They are never logged or stored. Example:
        `{"registry.example:5000": {"username": "hub", "password": "secret"}}`.""",
    ).tag(config=True)

    prepull = Bool(
        False,
        help="""When the Hub starts, pull every image that can be chosen, in the background and
        according to `pull_policy`: two at a time, and on a Swarm on all of its nodes. Pulls that
        fail are retried. Example: `True`.""",
    ).tag(config=True)

    max_parallel_pulls = Integer(
        16,
        min=1,
        help="""How many images may be pulled at once; further pulls wait for their turn.
        Example: `4`, for a slow network.""",
    ).tag(config=True)

    max_parallel_pulls_per_user = Integer(
        2,
        min=1,
        help="""How many of these pulls may count for one user. A pull that several users wait for
        counts for one of them. Example: `1`.""",
    ).tag(config=True)

    # --- identity --------------------------------------------------------------------------

    prefix = Unicode(
        "jupyter",
        help="""First part of the names of containers and volumes: lower-case letters, digits and
        single hyphens, 20 characters at most. Example: `"lab-west"`.""",
    ).tag(config=True)

    name_template = Unicode(
        "{prefix}-{username}--{servername}",
        help="""Template of container names, with the fields {prefix}, {username}, {servername} and
        {user_server}. Names are unique whatever the template is: a hash is added if two servers
        could get the same name. Example: `"nb-{user_server}"`.""",
    ).tag(config=True)

    hub_id = Unicode(
        "",
        help="""The id of this Hub, which is written in the labels of its containers and volumes.
        Empty: the id in the file `dockernamed_hub_id` beside `JupyterHub.cookie_secret_file`. At
        the Hub's first start it is derived from the cookie secret and written there. Set it if you
        move a Hub without these files. Example: `"physics"`.""",
    ).tag(config=True)

    volumes_of_another_hub = CaselessStrEnum(
        ["warn", "refuse"],
        default_value="warn",
        help="""What to do at a server's first start if the Engine has volumes of the same user and
        server under another hub id, because the Hub was moved, and its database and cookie secret
        are new: `warn` in the log and the start's progress, and start with new, empty volumes; or
        `refuse` to start. Both name the value of `hub_id` with which this Hub uses the volumes.
        Example: `"refuse"`.""",
    ).tag(config=True)

    # --- files -----------------------------------------------------------------------------

    server_volume = Unicode(
        "{prefix}-{user_server}.{hub_id}",
        help=f"""Name of the volume with one server's files, which is mounted at `notebook_dir` or
        else at the container's working directory (never at `/`). Empty: no such volume.
        {_TEMPLATES} Example: `""`, if `volumes` covers everything that must be kept.""",
    ).tag(config=True)

    volumes = Dict(
        help=f"""Volumes or host directories to mount: source → path in the container, or source →
        `{{"bind": path, "mode": "ro"}}`. A source that begins with `/` is a directory on the
        Engine's host; any other is the name of a volume. {_TEMPLATES}
        Example: `{{"home-{{username}}": "/home/jovyan", "/srv/data": "/data"}}`.""",
    ).tag(config=True)

    read_only_volumes = Dict(
        help="""Like `volumes`, but read-only. Template fields as in `volumes`.
        Example: `{"/srv/course": "/course"}`.""",
    ).tag(config=True)

    mounts = List(
        Dict(),
        help="""Mounts in the long form: a list of dicts with the arguments of docker-py's
        `docker.types.Mount` (type, source, target, read_only, driver_config, tmpfs_size in
        bytes, …). Template fields as in `volumes`.
        Example: `[{"type": "tmpfs", "target": "/scratch", "tmpfs_size": 1073741824}]`.""",
    ).tag(config=True)

    uid = Union(
        [Callable(), Integer(None, allow_none=True)],
        default_value=None,
        allow_none=True,
        help="""Number of the user that servers run as, and that volumes made for them belong to. A
        callable takes the spawner and returns a number (it may be async). None: the image's user.
        A `user` in `extra_create_kwargs` takes precedence. See docs/host-homes.md.
        Example: `1000`.""",
    ).tag(config=True)

    gid = Union(
        [Callable(), Integer(None, allow_none=True)],
        default_value=None,
        allow_none=True,
        help="""Number of the group that servers run as. A callable takes the spawner and returns a
        number (it may be async). None: the image's, or with `uid` the group that the image's
        `/etc/passwd` has for that user, or else 0. Example: `100`.""",
    ).tag(config=True)

    supplemental_gids = Union(
        [Callable(), List(Integer())],
        default_value=[],
        help="""Numbers of further groups that servers run with: a list, or a callable that takes
        the spawner and returns one (it may be async).
        Example: `[2000]`, for a directory that a group shares.""",
    ).tag(config=True)

    # --- network ---------------------------------------------------------------------------

    network_name = Unicode(
        "",
        help="""The Docker network of the servers. Empty: the one that `network_isolation` says.
        Template fields as in `volumes`. Example: `"jupyterhub"`.""",
    ).tag(config=True)

    network_isolation = CaselessStrEnum(
        ["none", "server", "user", "hub"],
        default_value=None,
        allow_none=True,
        help="""Whose servers can reach each other over the network. `"hub"`: nobody's; they share
        one network of this Hub, in which containers cannot talk to each other. `"user"`: those of
        one user, who get a network of their own; `"server"`: one each. Such networks are made
        before the first server, and removed with the last. `"none"`: the network of the Hub's own
        container, or else `bridge`. None: `"hub"`, or `"none"` if the Hub runs in a container of
        the same Engine, if `network_name` is set, or on Podman. See docs/security.md.
        Example: `"user"`.""",
    ).tag(config=True)

    networks = List(
        Unicode(),
        help="""Names of further Docker networks that each server is connected to, such as that of
        a database. Whoever is in them can reach the server. They must exist. Template fields as in
        `volumes`. Example: `["course-db"]`.""",
    ).tag(config=True)

    use_internal_ip = Bool(
        None,
        allow_none=True,
        help="""Reach servers at their address in the Docker network instead of at a port published
        on the Engine's host. None: True if the Hub runs in a container, if `network_name` is
        another network than `bridge`, or with
        `internal_network`. Example: `True`.""",
    ).tag(config=True)

    use_internal_hostname = Bool(
        False,
        help="""Reach servers by the names of their containers, which Docker's DNS resolves, for a
        Hub and a proxy that are containers on the same user-defined network. Example: `True`.""",
    ).tag(config=True)

    host_ip = Unicode(
        "",
        help="""Address of the Engine's host at which servers' ports are published, if they are.
        Empty: `127.0.0.1`, or all addresses of the Engine's host if that is another machine.
        Example: `"10.0.0.5"`.""",
    ).tag(config=True)

    ip = Unicode(
        "0.0.0.0",  # noqa: S104  (inside the container)
        help="""Address that the server listens on inside its container. Example: `"::"`.""",
    ).tag(config=True)

    port = Integer(
        8888,
        min=1,
        max=65535,
        help="""TCP port that the server listens on inside its container. With
        `network_name = "host"` each server gets a port of its own: this one if it is free, or the
        next free one of the 10,000 from it on. Example: `8080`.""",
    ).tag(config=True)

    # --- the process -----------------------------------------------------------------------

    cmd = Command(
        None,
        allow_none=True,
        minlen=1,
        help="""The command to run instead of the image's own (its CMD).
        Example: `["start-singleuser.sh"]`.""",
    ).tag(config=True)

    args = List(
        Unicode(),
        help="""Arguments after the command, or after the image's CMD if `cmd` is not set.
        Example: `["--ServerApp.max_body_size=100"]`.""",
    ).tag(config=True)

    environment = Dict(
        help="""Environment variables of every server: name → text, or a callable that takes the
        spawner and returns text. Example: `{"GRANT_SUDO": "no"}`.""",
    ).tag(config=True)

    notebook_dir = Unicode(
        "",
        help="""Absolute path in the container that the server opens; empty: the image's choice.
        Template fields as in `volumes`. Example: `"/home/jovyan/work"`.""",
    ).tag(config=True)

    default_url = Unicode(
        "",
        help="""The first page of a server, as a path below its base URL; empty: the server's
        choice. Template fields as in `volumes`. Example: `"/lab"`.""",
    ).tag(config=True)

    # --- hooks -----------------------------------------------------------------------------

    modify_container_hook = Callable(
        None,
        allow_none=True,
        help="""Called with the spawner and the request that is about to make the container: the
        body of `POST /containers/create` of the Docker Engine API, as a dict. It returns the
        request to send, or None if it has changed the one it was given; it may be async. It cannot
        change the image, the network, published ports, the container's name, or labels that begin
        with `dockernamed.`. In a `spawner_override`, write `lambda spawner: hook`. Example:
        `lambda spawner, request: request["HostConfig"].update(OomScoreAdj=500)`.""",
    ).tag(config=True)

    post_start_cmd = Union(
        [Callable(), List(Unicode()), Unicode()],
        default_value=[],
        help="""A command to run in the container after each start, as `docker exec` does, before
        the server counts as ready: a list of program and arguments; or text, which is split into
        such a list; or a callable that takes the spawner and returns either (it may be async). No
        shell reads it unless it names one. Its output goes to the Hub's log.
        Example: `["sh", "-c", "cp -n /etc/skel/.bashrc ~"]`.""",
    ).tag(config=True)

    post_start_user = Unicode(
        "",
        help="""Whom `post_start_cmd` runs as: name or number, with `:group` if wanted. Empty: as
        the container does. Example: `"root"`.""",
    ).tag(config=True)

    post_start_timeout = Float(
        60.0,
        min=0.1,
        help="""Seconds that `post_start_cmd` may take. They count against `start_timeout`.
        Example: `10.0`.""",
    ).tag(config=True)

    post_start_failure = CaselessStrEnum(
        ["fail", "warn"],
        default_value="fail",
        help="""What to do if `post_start_cmd` ends with another exit code than 0, cannot be run or
        takes too long: `fail` the start, which removes the container; or `warn` in the log and the
        start's progress, and go on. A command that takes too long runs on then, since Docker has
        no call to end it. Example: `"warn"`.""",
    ).tag(config=True)

    post_start_hook = Callable(
        None,
        allow_none=True,
        help="""Called after each start, once `post_start_cmd` has ended, with the spawner and what
        `docker inspect` says of the container (in a Swarm: of the service), as a dict; it may be
        async. If it raises something, the start fails. In a `spawner_override`, write
        `lambda spawner: hook`. Example:
        `lambda spawner, container: spawner.log.info(container["Name"])`.""",
    ).tag(config=True)

    # --- secrets ---------------------------------------------------------------------------

    secret_environment = Union(
        [Dict(), Callable()],
        default_value={},
        help="""Environment variables that only the server sees: they are neither in
        `docker inspect` nor in images made of its container, nor in the Hub's database or log. A
        dict of name → text, or → a `pathlib.Path` of a file on the Hub's machine that holds it, or
        → a callable that takes the spawner and returns one of these (it may be async); None leaves
        a variable out. Or a callable that returns such a dict. The image needs a `/bin/sh`. See
        docs/security.md.
        Example: `{"DB_PASSWORD": "secret"}`.""",
    ).tag(config=True)

    secret_files = Union(
        [Dict(), Callable()],
        default_value={},
        help="""Files that only the server sees, as `secret_environment`: absolute path in the
        container → text, bytes, a `pathlib.Path` of a file on the Hub's machine, or a callable that
        takes the spawner and returns one of these (it may be async); None leaves a file out. Or a
        dict with `content`, `mode` (as a number; 0o400), `uid` and `gid` (those of the user that
        the container runs as). Or a callable that returns all of it. At the path there will be a
        link. Example: `{"/etc/db.json": {"content": "{}", "mode": 0o440}}`.""",
    ).tag(config=True)

    private_tokens = Bool(
        True,
        help="""Deliver the tokens of a server as `secret_environment` is, if its image has a
        `/bin/sh`. False: they are in the container's configuration, where everybody sees them who
        may ask the Engine. That saves one call to the Engine per start: 50 ms with Docker 20.10.
        Containers that are kept (`remove`) always get them privately. Example: `False`.""",
    ).tag(config=True)

    # --- limits ----------------------------------------------------------------------------

    mem_limit = Union(
        [Callable(), ByteSpecification(None, allow_none=True)],
        default_value=None,
        allow_none=True,
        help="""The most memory that a server can use, in bytes, or with K, M, G or T for powers of
        1024. A callable takes the spawner. None: no limit. Example: `"2G"`.""",
    ).tag(config=True)

    mem_guarantee = ByteSpecification(
        None,
        allow_none=True,
        help="""Memory that is reserved for a server when the host runs short of it (Docker's
        memory reservation), in bytes, or with the same letters. Example: `"512M"`.""",
    ).tag(config=True)

    cpu_limit = Union(
        [Callable(), Float(None, allow_none=True)],
        default_value=None,
        allow_none=True,
        help="""The most CPUs that a server can use, as a number that need not be whole. A callable
        takes the spawner.
        None: no limit. Example: `1.5`.""",
    ).tag(config=True)

    cpu_guarantee = Float(
        None,
        allow_none=True,
        help="""CPUs that a server gets when all servers together want more than there are: a
        weight, in CPUs.
        Example: `0.5`.""",
    ).tag(config=True)

    gpus = Union(
        [Callable(), Integer(min=0)],
        default_value=0,
        help="""How many GPUs a server gets, each for itself alone. A callable takes the spawner. A
        start for which there are not so many is refused with status 429. See docs/profiles.md.
        Example: `1`.""",
    ).tag(config=True)

    gpu_devices = List(
        Unicode(),
        help="""The GPUs that servers may have, by index or UUID, as `nvidia-smi -L` lists them, or
        by CDI name. Empty: those that the Engine tells of, by the Container Device Interface
        (Docker 28.2 and later) or by `node-generic-resources` in its `daemon.json`.
        Example: `["0", "1"]`.""",
    ).tag(config=True)

    memswap_limit = ByteSpecification(
        None,
        allow_none=True,
        help="""The most memory and swap together that a server can use, in bytes, or with the same
        letters: at least `mem_limit`, without which it cannot be set; -1: all the swap there is.
        None: as much as `mem_limit`, so that a server with a limit never swaps, or what Docker says
        with `hardening = "off"` (twice `mem_limit`). Example: `"3G"`, with `mem_limit = "2G"`.""",
    ).tag(config=True)

    shm_size = ByteSpecification(
        None,
        allow_none=True,
        help="""Size of `/dev/shm`, the memory that processes of a server share, in bytes, or with
        the same letters. None: Docker's 64 MB. Example: `"1G"`, for PyTorch's data loaders.""",
    ).tag(config=True)

    ulimits = List(
        Dict(),
        help="""Limits of each process: a list of dicts with name, soft and hard, as docker-py's
        `docker.types.Ulimit` has them. `core` is 0 unless it is named, or hardening is off.
        Example: `[{"name": "nofile", "soft": 4096, "hard": 8192}]`.""",
    ).tag(config=True)

    devices = List(
        Unicode(),
        help="""Devices of the Engine's host that servers get: a list of texts `path on the host`,
        `path:path in the container` or `path:path:rwm`. Whoever runs code in a server can do with
        them what the device allows. Example: `["/dev/fuse:/dev/fuse:rwm"]`.""",
    ).tag(config=True)

    storage_opt = Dict(
        help="""Options of the Engine's storage driver, such as the most that a server can write
        outside of its volumes. Docker's overlay2 knows `size` only on an xfs file system mounted
        with `pquota`, and refuses it elsewhere. Example: `{"size": "20G"}`.""",
    ).tag(config=True)

    # --- Security --------------------------------------------------------------------------

    hardening = CaselessStrEnum(
        LEVELS,
        default_value=DEFAULT,
        help="""What servers are kept from by default: `default`, no more capabilities than a start
        script needs to become another user, no gain of rights by sudo, 512 processes, bounded logs,
        no swap beyond `mem_limit`, no core dumps; `strict`, also no capability at all, a read-only
        root file system, and networks without a way out; or `off`, as Docker itself has it. Each
        part has a setting of its own, which counts. See docs/security.md. Example: `"strict"`.""",
    ).tag(config=True)

    cap_drop = List(
        Unicode(),
        default_value=None,
        allow_none=True,
        help="""Linux capabilities that servers are not given. None: `["ALL"]`, or none with
        `hardening = "off"`. Example: `["NET_RAW"]`, for Docker's default set without that one.""",
    ).tag(config=True)

    cap_add = List(
        Unicode(),
        default_value=None,
        allow_none=True,
        help="""Linux capabilities that servers are given besides. None: CHOWN, DAC_OVERRIDE,
        FOWNER, SETUID, SETGID and KILL for a server that starts as root, with
        `hardening = "default"`; else none. Example: `["NET_BIND_SERVICE"]`.""",
    ).tag(config=True)

    allow_privilege_escalation = Bool(
        None,
        allow_none=True,
        help="""Whether programs can gain rights that the one before lacks, as `sudo` does. With
        the Jupyter Docker Stacks' `GRANT_SUDO` this must be True. None: False, or True with
        `hardening = "off"`. Example: `True`.""",
    ).tag(config=True)

    pids_limit = Integer(
        None,
        allow_none=True,
        help="""The most processes and threads that a server can have at once; -1: no limit. None:
        512, or no limit with `hardening = "off"`. Example: `2048`, for large computations.""",
    ).tag(config=True)

    log_config = Dict(
        default_value=None,
        allow_none=True,
        help="""Where a container's output goes: a dict with `type`, the log driver, and `config`,
        its options, as docker-py has it. None: the Engine's log driver. Unless hardening is off,
        `json-file` gets `max-size` 10m and `max-file` 3 where they are not given. Example:
        `{"type": "json-file", "config": {"max-size": "50m", "max-file": "2"}}`.""",
    ).tag(config=True)

    read_only = Bool(
        None,
        allow_none=True,
        help="""Whether the root file system of servers is read-only: they can write in volumes and
        `tmpfs` only, and in a volume for the time of one run where their home is in no other. Such
        containers are not kept. None: True with `hardening = "strict"`. Example: `True`.""",
    ).tag(config=True)

    tmpfs = Dict(
        default_value=None,
        allow_none=True,
        help="""Directories in memory: path in the container → options of the mount. None: `/tmp`
        and `/run` with a read-only root file system, else none. Example:
        `{"/tmp": "size=2g,exec", "/run": ""}`.""",
    ).tag(config=True)

    internal_network = Bool(
        None,
        allow_none=True,
        help="""Whether servers must have no way out: the networks of `network_isolation` are made
        without one, so that servers reach the Hub and its host, and the Hub reaches them at their
        addresses; and a start in a network that has one is refused. None: True with
        `hardening = "strict"`. Example: `False`, for strict servers that may use the Internet.""",
    ).tag(config=True)

    allow_unsafe = List(
        Enum(sorted(UNSAFE)),
        help="""What would else be refused in `volumes`, `mounts`, `cap_add`, `extra_host_config` or
        the like, since it gives servers the Engine's host or other people's servers: a list of
        `privileged`, `host-namespaces`, `container-namespaces`, `engine-socket` (the socket, what
        holds it, and the Engine's files), `host-devices` (mounts of `/dev`, `/proc` and `/sys`, and
        device_cgroup_rules), `host-capabilities` (such as SYS_ADMIN), `unconfined` (no seccomp,
        AppArmor or SELinux) and `volumes-from`. Example: `["privileged"]`.""",
    ).tag(config=True)

    # --- for all servers together ----------------------------------------------------------

    max_servers_per_user = Integer(
        0,
        min=0,
        help="""How many servers of one user may run or start at once; a start beyond that is
        refused with status 429. 0: any number. JupyterHub's `named_server_limit_per_user` counts
        servers that do not run as well, and its `active_server_limit` those of all users.
        Example: `3`.""",
    ).tag(config=True)

    max_starts_per_user = Integer(
        0,
        min=0,
        help="""How many servers of one user may be starting at once, pulls included. 0: any number.
        JupyterHub's `concurrent_spawn_limit` is for all users. Example: `2`.""",
    ).tag(config=True)

    max_total_memory = ByteSpecification(
        None,
        allow_none=True,
        help="""The memory that may be promised to all servers that run or start, in bytes, or with
        K, M, G or T for powers of 1024. A server counts with its `mem_limit`, or else with its
        `mem_guarantee`; one that has neither is not started then. None: no limit.
        Example: `"120G"`.""",
    ).tag(config=True)

    max_total_cpu = Float(
        None,
        min=0,
        allow_none=True,
        help="""The CPUs that may be promised to all servers that run or start, counted likewise by
        `cpu_limit` or `cpu_guarantee`. It may be more than there are. None: no limit.
        Example: `64.0`.""",
    ).tag(config=True)

    group_limits = Dict(
        help="""Limits for the users of JupyterHub's groups: group → dict. For all its users
        together: `max_servers`, `max_starts`, `max_total_memory` and `max_total_cpu`. For each of
        them: `max_servers_per_user` and `max_starts_per_user`, instead of the settings of these
        names; for users of several groups, the most that one of the groups allows.
        Example: `{"students": {"max_servers_per_user": 1, "max_total_memory": "64G"}}`.""",
    ).tag(config=True)

    # --- life ------------------------------------------------------------------------------

    remove = Bool(
        True,
        help="""Remove a container when its server stops; its volumes stay. False: keep it, and
        use it again at the next start, with a new token, if image and settings are the same. The
        image needs a `/bin/sh` for that. If it cannot be used again it is replaced, for example if
        it has environment variables whose names a shell does not pass on.
        Example: `False`.""",
    ).tag(config=True)

    delete_volumes = Bool(
        True,
        help="""Delete the volumes that belong to one server alone when that server is deleted
        for good (`{"remove": true}`, or with its user). Shared volumes, and those of others, are
        never deleted. Example: `False`.""",
    ).tag(config=True)

    keep_failed = Bool(
        False,
        help="""Keep the container of a server that died at its start, for `docker logs`, until the
        next start. Example: `True`.""",
    ).tag(config=True)

    readiness = Unicode(
        "jupyterhub",
        help="""What shows that a server is ready. `"jupyterhub"`: an answer that only this server
        gives, as `jupyterhub-singleuser` does. For programs that are no Jupyter server: `"http"`,
        any HTTP answer below 500; or a path on the server that begins with `/`, for which a status
        from 200 to 399 counts. Template fields as in `volumes`.
        Example: `"{base_url}healthz"`.""",
    ).tag(config=True)

    stop_timeout = Float(
        10.0,
        min=0,
        help="""Seconds between SIGTERM and SIGKILL when a server is stopped. Example: `30.0`.""",
    ).tag(config=True)

    orphans = CaselessStrEnum(
        ["remove", "report", "off"],
        default_value="remove",
        help="""What to do with containers that carry this Hub's labels but for which the Hub has no
        running server (because it was killed, or restored from a backup), and with networks of
        servers that no longer exist: stop and `remove` them, `report` them in the log, or nothing
        (`off`). The Hub looks for them at its start and every `orphan_interval`. Volumes are never
        touched. Example:
        `"report"`.""",
    ).tag(config=True)

    orphan_grace = Float(
        10.0,
        min=0,
        help="""Seconds for which something must have been an orphan before it is removed.
        Example: `60.0`.""",
    ).tag(config=True)

    orphan_interval = Float(
        300.0,
        min=0,
        help="""Seconds between two searches for orphans. Example: `3600.0`.""",
    ).tag(config=True)

    crash_log_lines = Integer(
        10,
        min=0,
        help="""How many of its last log lines the user sees when a server dies at its start, in
        4,000 characters at most; 0: none. Example: `50`.""",
    ).tag(config=True)

    # --- the configuration -----------------------------------------------------------------

    strict_config = Bool(
        False,
        help="""End the Hub at its start if the configuration has lines that nobody reads, such as
        `c.DockerSpawner.image = …` or a misspelt setting, instead of warning of them in the log.
        Example: `True`.""",
    ).tag(config=True)

    # --- the Engine ------------------------------------------------------------------------

    client_kwargs = Dict(
        help="""Arguments for docker-py's `docker.APIClient`: base_url, version, timeout in
        seconds, tls, user_agent and credstore_env. Without base_url, DOCKER_HOST,
        DOCKER_TLS_VERIFY and DOCKER_CERT_PATH are used. An `ssh://` address needs the package
        `aiodocker[ssh]`.
        Example: `{"base_url": "tcp://10.0.0.5:2376", "timeout": 120}`.""",
    ).tag(config=True)

    tls_config = Dict(
        help="""Arguments for docker-py's `docker.tls.TLSConfig`. Without `verify` it would check
        nothing, and is refused: see `allow_insecure_engine`.
        Example: `{"client_cert": ("cert.pem", "key.pem"), "ca_cert": "ca.pem", "verify": True}`.
        """,
    ).tag(config=True)

    allow_insecure_engine = Bool(
        False,
        help="""Use a way to the Engine on which others could read along, or answer in its place:
        plain `tcp://` or `http://` to another host, or TLS whose certificate is not checked. False:
        the Hub does not start with such a way. Example: `True`, if the Hub and a proxy before the
        Engine are alone on their network.""",
    ).tag(config=True)

    max_parallel_calls = Integer(
        16,
        min=1,
        help="""How many short calls to the Engine may be made at once; others wait for their turn.
        Example: `4`, for a slow Engine.""",
    ).tag(config=True)

    extra_create_kwargs = Union(
        [Callable(), Dict()],
        help="""Further arguments for docker-py's `create_container`; they override what is
        computed. A callable takes the spawner. Template fields as in `volumes`.
        Example: `{"user": "root", "hostname": "{username}"}`.""",
    ).tag(config=True)

    extra_host_config = Union(
        [Callable(), Dict()],
        help="""Further arguments for docker-py's `create_host_config`; they override what is
        computed, and lists are joined. What `allow_unsafe` names is refused unless it is allowed
        there. A callable takes the spawner. Template fields as in `volumes`;
        `binds` and `mounts` obey its rules.
        Example: `{"dns": ["10.0.0.53"], "sysctls": {"net.core.somaxconn": "1024"}}`.""",
    ).tag(config=True)
