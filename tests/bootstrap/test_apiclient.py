"""The client init and join use."""

import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import apiclient, kubeconfig
from bootstrap.errors import BootstrapError

# The lab joins nodes in threads. Types first met by two threads at once used to crash the process.
AT_THE_SAME_TIME = """
import sys, threading
import msgspec
from bootstrap import apiclient, kubeconfig
sys.setswitchinterval(1e-6)
config = kubeconfig.build(server="https://127.0.0.1:1", ca=b"", user="me", token="t")
together = threading.Barrier(4)
def use():
    together.wait()
    apiclient.connect_with(config)
    for each in apiclient._DECODED:
        try:
            msgspec.json.decode(b'{"object": {}, "spec": {"request": "x", "signerName": "x"}}', type=each)
        except msgspec.ValidationError:
            pass
threads = [threading.Thread(target=use) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def test_threads_may_decode_at_the_same_time() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", AT_THE_SAME_TIME], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_kubeconfig_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match="cannot use the kubeconfig"):
        apiclient.connect(tmp_path / "missing")
    config = kubeconfig.build(server="https://127.0.0.1:1", ca=b"", user="me", token="t")
    kubeconfig.write(tmp_path / "bad", {**config, "current-context": "other"})
    with pytest.raises(BootstrapError, match="other"):
        apiclient.connect(tmp_path / "bad")
