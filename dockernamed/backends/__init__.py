"""Doing it: plans carried out on an Engine, what exists there observed, failures rolled back.

`base` says what a backend is; `containers` is one, and `services` the other. `executor` carries
plans out over any, `start` those of a start, and `rollback` takes back what a failed one made.
`table` is what is known of all there is: `watcher` keeps that of containers true, and `tasks` that
of services.
Entered by `lifecycle` and `spawner`; enters `engine` and `desired`.
"""
