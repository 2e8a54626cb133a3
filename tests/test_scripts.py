"""What scripts/common.sh does to a machine, on a folder that stands for it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

COMMON = Path(__file__).parents[1] / "scripts/common.sh"


def shell(script: str, *, cwd: Path, link: Path) -> str:
    script = f"set -euo pipefail; . {COMMON}; LINK={link}; {script}"
    return subprocess.run(["bash", "-c", script], cwd=cwd, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    program = tmp_path / "checkout/.venv/bin/minikctl"
    program.parent.mkdir(parents=True)
    program.touch()
    return tmp_path / "checkout"


def test_the_link_to_minikctl_goes_with_its_checkout_and_never_with_another(checkout: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "bin/minikctl", tmp_path / "other"
    other.mkdir()
    shell("link_cli", cwd=checkout, link=link)
    assert link.resolve() == checkout / ".venv/bin/minikctl"
    shell("unlink_cli", cwd=other, link=link)
    assert link.is_symlink(), "it leads to a checkout that is there"
    shell("unlink_cli; unlink_cli", cwd=checkout, link=link)
    assert not link.is_symlink()


def test_a_link_to_a_checkout_that_is_gone_goes_too(checkout: Path, tmp_path: Path) -> None:
    link = tmp_path / "bin/minikctl"
    shell("link_cli", cwd=checkout, link=link)
    (checkout / ".venv/bin/minikctl").unlink()
    shell("unlink_cli", cwd=tmp_path, link=link)
    assert not link.is_symlink()


def test_a_file_of_somebody_else_stays(checkout: Path, tmp_path: Path) -> None:
    link = tmp_path / "minikctl"
    link.write_text("theirs")
    assert "somebody else" in shell("link_cli; unlink_cli", cwd=checkout, link=link)
    assert link.read_text() == "theirs"


@pytest.mark.parametrize(
    ("command", "line", "failed"),
    [("true", "ok       a part", "0"), ("exit 3", "FAILED   a part (exit code 3", "1")],
)
def test_a_section_tells_how_it_went(checkout: Path, tmp_path: Path, command: str, line: str, failed: str) -> None:
    run = f"section 'a part' sh -c '{command}'; echo \"${{results[0]}} failed=$failed\""
    out = shell(run, cwd=checkout, link=tmp_path / "none")
    assert line in out and f"failed={failed}" in out
