"""Generated examples are the same in every run, and as slow as the machine is."""

from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")
