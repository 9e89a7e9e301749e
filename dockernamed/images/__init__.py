"""Image references, which of them are allowed, and how they get onto the Engine.

`puller` gets them onto an Engine, `node_images` onto the nodes of a Swarm, and `prepull` has either
done ahead of need. What reads references and settings is pure.
Entered by `options` (for the pure ones), `lifecycle` and `spawner`.
"""
