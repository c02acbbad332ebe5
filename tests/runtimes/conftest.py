from __future__ import annotations

import pytest

from clit_deploy.runtimes.cuda.device_arrays import DeviceArrays
from tests.fakes.machine import Machine


@pytest.fixture
def machine():
    return Machine.make()


@pytest.fixture
def api(machine):
    return machine.api


@pytest.fixture
def arrays(machine):
    return DeviceArrays(machine.cuda)
