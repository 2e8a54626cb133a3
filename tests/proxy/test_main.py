import pytest

from proxy.main import parse


def test_the_flags_of_a_node() -> None:
    options = parse(["--kubeconfig", "x", "--min-sync-period", "100ms", "--cluster-dns", ""])
    assert (options.min_sync_period, options.cluster_dns, options.cluster_cidr) == (0.1, "", "10.244.0.0/16")


@pytest.mark.parametrize(
    "argv",
    [[], ["--kubeconfig", "x", "--cluster-cidr", "10.244.0.0/99"], ["--kubeconfig", "x", "--cluster-dns", "dns"]],
)
def test_bad_flags_are_told_in_a_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(argv)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
