"""What the tests share: a fake Engine, stand-ins for a Hub, and drivers of real ones."""
