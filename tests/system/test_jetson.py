"""One table of releases: L4T and the JetPack that it belongs to."""

import pytest

from clit_deploy.system.jetson import Jetson, jetson


@pytest.mark.parametrize(
    ("l4t", "jetpack"),
    [
        ("35.5.0", "5"),
        ("36.3.0", "6.0"),
        ("36.4.0", "6.1"),
        ("36.4.3", "6.2"),
        ("36.4.4", "6.2.1"),
        ("36.4.99", None),
        ("36.5.0", "6.2.2"),
        ("39.2.2", "7.2.2"),
        ("41.1.0", None),
        (None, None),
    ],
)
def test_a_release_has_one_jetpack(l4t, jetpack):
    assert Jetson("Orin", l4t).jetpack == jetpack


def test_the_package_knows_better_than_the_table(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36 (release), REVISION: 4.99, GCID: 1")
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    status = "Package: nano\nVersion: 1\n\nPackage: nvidia-jetpack\nStatus: ok\nVersion: 6.2.3\n"
    (tmp_path / "var/lib/dpkg/status").write_text(status)
    board = jetson(tmp_path)
    assert (board.l4t, board.jetpack) == ("36.4.99", "6.2.3")
