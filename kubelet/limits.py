"""Limits and times of the kubelet, in one place; the unit is in the name. (The engine's stand in runtime/.)

Where Kubernetes has the same number, it is Kubernetes' own.
"""

from __future__ import annotations

from client.backoff import Backoff

# The node

RENEWALS_PER_LEASE = 4
NODE_REPORT_SECONDS = 300.0
"""A node's status that does not change is sent so often all the same."""
NODE_RETRY_SECONDS = 0.5
MEMORY_PRESSURE_BYTES = 100 * 2**20
DISK_PRESSURE_SHARE = 0.02
PID_PRESSURE_SHARE = 0.05

# The engine

ENGINE_RETRY = Backoff(0.5, 10.0)
"""Between two lists of an engine that fails them."""
ENGINE_CHECK_SECONDS = 5.0
ENGINE_RETRY_SECONDS = 0.5
"""Between two questions to an engine that answers, and to one that does not."""
ENGINE_ANSWER_SECONDS = 10.0
"""An engine silent for so long is down, and the node NotReady."""
RESYNC_SECONDS = 60.0
"""So often everything is looked at anew, whatever the events told."""
USAGE_SECONDS = 10.0
"""So often the room that pods take is measured."""

# Starting

CONFIG_BACKOFF_SECONDS = (1.0, 20.0)
PULL_BACKOFF_SECONDS = (10.0, 300.0)
"""First and longest wait before an image is asked for again; before anything else is tried again."""
SYNC_SECONDS = 5.0
"""A pod's start waits so long for the first sight of what it refers to."""
TOKEN_SECONDS = 3600
TOKEN_RENEWAL_SHARE = 0.8
"""The life of a service account token, and the share of it after which it is replaced."""
WORKER_RETRY_SECONDS = 5.0
"""After a fault in a pod's worker."""
NEWS_SECONDS = 60.0
"""What is waited for is looked at so often even without news."""

# Claims

ATTACH_SECONDS = 20.0
ATTACH_RECHECK_SECONDS = 0.1
"""A pod's start waits so long for its volume to be attached, and asks so often."""
DISK_SECONDS = 30.0
DISK_RECHECK_SECONDS = 0.02
"""A step of mounting a disk, or of unmounting one, has so long; so often is looked whether the disk is there."""
DISK_CHECK_SECONDS = 2.0
"""So often the node asks whether it has been shut out of a disk."""
DISK_RETRIES = 30
"""Seconds for which what a container reads and writes waits for a storage host that is away, before it fails."""

# Running

RESTART_BACKOFF_BASE_SECONDS = 10.0
RESTART_BACKOFF_MAX_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 600.0
"""A container that ran for so long is forgiven its earlier crashes."""
KEPT_ATTEMPTS = 2
"""The present container and the one before it, for `logs --previous` and lastState."""
FIRST_TRIES_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
"""A server needs a moment to open its port. Within the first period a probe that waits for success looks again
after these pauses; those looks count only if they succeed."""

# Ending

DEFAULT_GRACE_SECONDS = 30.0
EVICTION_GRACE_SECONDS = 1.0
GONE_GRACE_SECONDS = 1.0
"""For a pod that uses more than it may; for one the API server no longer has: nobody is left to wish for more."""
MIN_GRACE_SECONDS = 2.0
"""What the stop signal is given even if a preStop hook used up the grace period."""
KILL_SECONDS = 30.0
"""After SIGKILL the engine has so long to report the end."""
DELETE_RETRY_SECONDS = 1.0
MESSAGE_FILE_BYTES = 4096
MESSAGE_LOG_BYTES = 2048
MESSAGE_LOG_LINES = 80
MESSAGE_LOG_SECONDS = 5.0
"""A termination message: from its file, or from the end of the log, which has so long to be read."""

# Telling

PROGRESS_DELAY_SECONDS = 0.5
"""Mere progress waits so long for company."""
STATUS_RETRY = Backoff(0.2, 5.0)
STATUS_WRITES = 4
"""Of all pods of the node, at the same time."""
FRESH_FAILURE_SECONDS = 2.0
"""For so long a failed step is shown as the error it was; then as the wait for the next try."""
