"""The commands that repair what is missing."""

import importlib.metadata

import pytest

from clit_deploy.system.extras import install_command

LISTED = [
    "numpy>=1.24",
    "onnxruntime>=1.19",
    "cuda-bindings<13,>=12.9.1; extra == 'tensorrt-cu12'",
    "tensorrt-cu12<12,>=10.3; (python_version >= '3') and extra == 'tensorrt-cu12'",
    "for-others; (python_version < '3') and extra == 'tensorrt-cu12'",
    "nvidia-ml-py>=12.535; extra == 'nvml'",
    "tomli>=2; python_version >= '3'",
]


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("tensorrt-cu12", "pip install 'cuda-bindings<13,>=12.9.1' 'tensorrt-cu12<12,>=10.3'"),
        ("nvml", "pip install 'nvidia-ml-py>=12.535'"),
        ("unheard-of", "pip install 'clit-deploy[unheard-of]'"),
    ],
)
def test_the_packages_themselves_are_named(monkeypatch, extra, command):
    """What this machine does not need, and what is there already, is left out."""
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: LISTED)
    assert install_command(extra) == command


def test_a_folder_that_was_never_installed_has_nothing_to_read(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert install_command("export") == "pip install 'clit-deploy[export]'"
