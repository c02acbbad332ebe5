"""Latency, memory, energy and conditions of a plan on this machine, and what changed since."""
