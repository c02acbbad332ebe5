"""What is compared before engines are trusted: everything."""

import pytest

from clit_deploy.engines.check import check_engines
from clit_deploy.plan.plan_file import Plan
from clit_deploy.runtimes.trt.engine_runtime import EngineRuntime
from tests.fakes.machine import Machine


@pytest.mark.parametrize("name", ["clit", "clit-learn", "liif", "lit"])
def test_every_graph_and_every_profile_runs(plans, name):
    machine = Machine.make()
    plan = machine.built(Plan.open(plans[name]))
    (engines,) = plan.manifest.engines
    runtime = EngineRuntime(machine.trt, engines, machine.cuda)
    assert check_engines(plan, runtime) < 1e-4
    for engine in engines.engines:
        assert runtime.used(engine.graph) == set(range(len(engine.profiles))), engine.graph
    runtime.close()
    runtime.close()  # again, and nothing happens
