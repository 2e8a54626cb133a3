"""How long bootstrap waits and how much it keeps. Times are seconds. What a user can choose is in options.py."""

# Asking the API server
ANSWER_TIMEOUT = 5.0  # for one answer
READY_TIMEOUT = 2.0  # for one answer of a server that is being born
RETRY_EVERY = 0.05  # between attempts while a server is coming up: nothing can be watched yet
ASK_EVERY = 0.1  # between questions whether it is signed, or Ready: a watch of a quiet object knows no time to give up
ENGINE_TIMEOUT = 60.0  # for one answer of the Docker engine; removing a container that runs takes a while

# The supervisor
BACKOFF_FIRST = 0.2  # before a child is started again; doubles
BACKOFF_LIMIT = 10.0
HEALTHY_AFTER = 10.0  # up so long, then the backoff starts anew
STOP_GRACE = 10.0  # from SIGTERM to SIGKILL, per child
WATCHDOG = 60.0  # without a sign of life from the supervisor for so long, systemd starts it anew
STOP_TIMEOUT = 30.0  # for all of them, then they are killed from outside
LOG_LIMIT = 10 * 1024 * 1024  # bytes; one older file is kept as <name>.log.1
LOG_CHECK = 10.0  # between looks at the sizes of logs
