"""What happens over time: readiness, the watch over running servers, orphans, progress.

`runtime` is what all spawners of a Hub share on one Engine.
Entered by `spawner` and `hub`; enters `backends`, `images` and `desired`.
"""
