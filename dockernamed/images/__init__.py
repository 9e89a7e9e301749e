"""Image references, which of them are allowed, and how they get onto the Engine.

`reference`, `allowed`, `credentials` and `pull_progress` are pure; `puller` and `prepull` pull.
Entered by `options` (for the pure ones), `lifecycle` and `spawner`.
"""
