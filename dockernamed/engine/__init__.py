"""The Docker Engine as awaitable calls: the only importer of Docker's packages.

Errors come out in the tree of `errors`, whatever the library underneath raises.
Entered by `backends`, `images`, `lifecycle` and `spawner`.
"""
