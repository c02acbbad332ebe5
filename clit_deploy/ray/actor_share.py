"""What an actor may use of its node: the CPUs, the GPU and the memory that Ray gives it."""

from __future__ import annotations

import socket
from typing import Any

from clit_deploy.config import RuntimeName
from clit_deploy.system import memory


def node_name() -> str:
    """The address of this node in the cluster; its host name outside of one."""
    import ray

    return str(ray.util.get_node_ip_address()) if ray.is_initialized() else socket.gethostname()


def running_settings(
    runtime: str = "auto", threads: int | None = None, max_memory: str | int | None = None
) -> dict[str, Any]:
    """Settings for `clit_deploy.load` that keep to this actor's share of its node.

    Args:
        runtime: `auto` takes the CPU where Ray gives the actor no GPU.
        threads: None takes as many as Ray gives the actor CPUs.
        max_memory: None takes the same part of the free memory as of the node's CPUs or GPUs.
    """
    given, whole = _resources()
    cpus, gpus = given.get("CPU", 0.0), given.get("GPU", 0.0)
    if runtime == RuntimeName.AUTO.value and given and not gpus:
        runtime = RuntimeName.CPU.value
    if threads is None and cpus:
        threads = max(int(cpus), 1)
    if max_memory is None and given:
        parts = [given[kind] / whole[kind] for kind in ("CPU", "GPU") if given.get(kind)]
        free = memory.available()
        if free is not None and parts and max(parts) < 1:
            max_memory = memory.resident() + int(free * max(parts))
    return {"runtime": runtime, "threads": threads, "max_memory": max_memory}


def _resources() -> tuple[dict[str, float], dict[str, float]]:
    """What this actor has, and what its node has; nothing outside of an actor."""
    import ray

    if not ray.is_initialized():
        return {}, {}
    context = ray.get_runtime_context()
    if context.get_actor_id() is None:
        return {}, {}
    own = context.get_node_id()
    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes()}
    return context.get_assigned_resources(), nodes[own]
