"""What the storage host waits for and how much it gives. Times are seconds."""

FIRST_PORT = 10810
"""Each session listens on a port of its own, the lowest free one from here."""
PORTS = 1000
START_TIMEOUT = 10.0  # until a session's server answers
RECHECK = 0.02  # between looks whether it does
KEY_BYTES = 32
THREADS = 4  # of a session's server
