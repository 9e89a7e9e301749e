"""Doing it: plans carried out on an Engine, what exists there observed, failures rolled back.

`base` says what a backend is, `containers` is the first one, `executor` carries plans out over any,
`watcher` observes, `rollback` takes back what a failed start made.
Entered by `lifecycle` and `spawner`; enters `engine` and `desired`.
"""
