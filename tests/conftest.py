"""For all tests: how long an example takes on a busy machine proves nothing."""

from hypothesis import settings

settings.register_profile("minik", deadline=None)
settings.load_profile("minik")
