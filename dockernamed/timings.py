"""Every patience and pause of the package, in seconds, in one value. Pure.

What an admin may set is a setting (`settings.py`); these are the rest. Whoever needs another pace,
such as a test, makes a `Timings` of its own and hands it to `lifecycle.runtime.Runtime`, which
hands it down.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """All durations in seconds, but for the one that is called a share.

    Attributes:
        connect: for a connection to the Engine.
        repeat_after: before each repetition of a call that may be repeated.
        stream_opens: for the Engine to begin its stream of events; Podman may wait for an event.
        reconnect: first pause after the stream was lost; it doubles up to ``reconnect_at_most``.
        reconnect_at_most: longest such pause.
        resync: after which stream and list are begun anew, even if nothing seems wrong.
        confirm: between the first list of a stream and the second.
        ended_tasks: between two requests for the tasks of a Swarm that have ended.
        changing_tasks: between two looks at services that begin to change; at most as long as
            ``ended_tasks`` where that takes longer.
        tasks_told: that a manager of a Swarm may take for one of these. One that has no leader
            takes half a minute to say so, or says nothing.
        no_node: that a server of a Swarm which ran may wait for a node that takes its next task, as
            while one frees what it reserves; after that it has ended.
        oom_before_end: an end so soon after the kernel killed in the container is laid to that.
        starting: for which a list is not believed that says a container we start does not run.
        look_again: between two looks at a container of an Engine that is ending.
        retry_after: before each further try of something that has to be done.
        late_start: for which a start call without an answer may still be done.
        engine_first_seen: that an Engine which was never seen yet is waited for.
        stop_waits_for_engine: that a stop waits for an Engine that went away. A Hub that ends must
            not wait for ever; what runs on is an orphan, found when both are back.
        news_of_end: that the news of an end may take after the Engine has said that it is done.
        cancelled_start: in which a cancelled start is over. JupyterHub gives it one; if it is not
            over by then, the request that interrupts it fails, and the Hub calls the server ready
            for ever.
        failed_start: that who is to be told why a start failed waits for what it made to be taken
            back; the rest of that goes on.
        stop_is_over: that the news may take that a stop is over, once the container has ended.
            Signals from outside (``docker kill --signal TERM``) look like a stop's, and bring no
            such news.
        restart_goes_on: within which ``docker restart`` goes on from its stop to its start.
        explain_failure: of a start's time, how much is kept for telling why it failed.
        explain_failure_share: at most this share of it (no seconds, but from 0 to 1).
        first_probe: between the first two requests to a server that does not answer yet.
        longest_probe: between two such requests at most.
        probe_answer: for the answer to one such request.
        first_words: of that, for the beginning of the body once the head has come.
        wrong_answers: that a starting server may go on answering as some other one before it is
            given up; a program may answer before all of it is up.
        explain_silence: after which a server that has not answered yet is looked at, and between
            two such looks: what it logged may tell why.
        connect_to_port: that a port of the Engine's host may stay silent before it counts as free.
        orphans_again: at least between two looks at orphans that could not be dealt with.
        network_facts: for which what the Engine said of a network is used again.
        other_hub: that another Hub is waited for, which may have a container with our labels.
        other_volumes: for which the list of volumes under other hub ids is used again.
        network_exists: that the Hub's start waits to learn whether the servers' network exists.
        metadata: that an address may stay silent at which a cloud would answer.
        look_at_homes: that a server which is ready waits to learn whether its user can write.
        list_images: that the options form waits to learn which images the Engine has.
        prepull_again: before each further try to pull an image ahead of need.
        look_at_task: before the second look at a Swarm's task that is to begin or to end.
        look_at_task_at_most: longest such pause.
        task_ends: that a task may take to end, beyond the time that it was given for that.
        volume_free: before each further try to remove a volume of a task that has just ended.
        network_free: before each further try to remove a network of such a task.
        empty_volume: that a task may take which deletes a volume's files; another one goes on.
        empty_volume_at_once: likewise, while somebody waits; after that it is done later.
        update_again: before each further try to change a service that somebody else changed.
        note_node: before it is noted on which node of a Swarm the first task with a volume runs;
            as long as it is not, the task itself tells.
        prepull_look: between two looks at how far an image is on the nodes of a Swarm.
        new_nodes: between two looks at whether a Swarm has nodes that lack images pulled ahead.
    """

    connect: float = 10.0
    repeat_after: tuple[float, ...] = (0.1, 0.4)
    stream_opens: float = 2.0
    reconnect: float = 0.1
    reconnect_at_most: float = 5.0
    resync: float = 300.0
    confirm: float = 2.0
    ended_tasks: float = 0.5
    changing_tasks: float = 0.05
    tasks_told: float = 5.0
    no_node: float = 3.0
    oom_before_end: float = 10.0
    starting: float = 60.0
    look_again: float = 0.5
    retry_after: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)
    late_start: float = 600.0
    engine_first_seen: float = 20.0
    stop_waits_for_engine: float = 45.0
    news_of_end: float = 5.0
    cancelled_start: float = 0.5
    failed_start: float = 0.5
    stop_is_over: float = 3.0
    restart_goes_on: float = 0.25
    explain_failure: float = 1.0
    explain_failure_share: float = 0.1
    first_probe: float = 0.01
    longest_probe: float = 0.5
    probe_answer: float = 5.0
    first_words: float = 0.5
    wrong_answers: float = 10.0
    explain_silence: float = 15.0
    connect_to_port: float = 1.0
    orphans_again: float = 1.0
    network_facts: float = 30.0
    other_hub: float = 2.0
    other_volumes: float = 30.0
    network_exists: float = 5.0
    metadata: float = 0.5
    look_at_homes: float = 2.0
    list_images: float = 2.0
    prepull_again: tuple[float, ...] = (10.0, 60.0, 300.0)
    look_at_task: float = 0.1
    look_at_task_at_most: float = 1.0
    task_ends: float = 30.0
    volume_free: tuple[float, ...] = (0.1, 0.3, 0.6, 1.0, 2.0, 4.0)
    network_free: tuple[float, ...] = (0.1, 0.3, 0.6, 1.0)
    empty_volume: float = 60.0
    empty_volume_at_once: float = 10.0
    update_again: tuple[float, ...] = (0.0, 0.01, 0.05, 0.1, 0.3, 1.0)
    note_node: float = 2.0
    prepull_look: float = 1.0
    new_nodes: float = 30.0


#: As the package runs.
DEFAULT = Timings()
