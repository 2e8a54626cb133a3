"""How long the lab waits. Times are seconds; how soon its cluster notices things is LAB_TIMING in cluster.py."""

START_TIMEOUT = 120.0  # for one host; generous, because a loaded machine is slow but not broken
ENGINE_TIMEOUT = 60.0  # until an engine answers
ENGINE_ANSWER_TIMEOUT = 5.0  # for one answer
ENGINE_ASK_EVERY = 0.03  # between looks; a socket being made cannot be watched over HTTP
ENGINE_SHUTDOWN = 5  # what the engine gives containers when it is told to stop
KILL_DEADLINE = 15.0  # for the kernel to end, or to stop, what it was told to
RECHECK = 0.01  # between looks at /proc
