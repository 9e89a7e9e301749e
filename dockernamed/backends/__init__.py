"""Doing it: plans carried out on an Engine, what exists there observed, failures rolled back.

`executor` carries out, `watcher` observes, `rollback` takes back what a failed start made.
Entered by `lifecycle` and `spawner`; enters `engine` and `desired`.
"""
