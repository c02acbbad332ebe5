"""Manifests of strangers: every value has a range, and what is wrong is one printable sentence."""

from __future__ import annotations

import copy
import json

import pytest

import clit_deploy
from clit_deploy.errors import PlanError, error_message, printable, quote
from clit_deploy.plan.manifest import Manifest
from tests.security.hostile import members_of, write

WRONG = {
    "family": ["", "x" * 101, "a b", 3, None, "\ud800"],
    "hyperparameters": [None, [], 1],
    "decay": [-1, 2, "0", None, float("nan"), float("inf")],
    "bilinear_base": [1, "yes", None],
    "tables": ["encoder.onnx", "../tables.npz", "", 1],
    "precision": ["fp64", "", None],
    "opset": [0, 10**9, True],
    "stages": [[], {}, None, 1],
    "encoder.graph": ["tables.npz", "a/b.onnx", "manifest.json", None],
    "encoder.channels": [0, -1, 10**9, 1.5, True, 10**400],
    "encoder.halo": [-1, 10**6],
    "encoder.multiple": [0, -4, 10**6],
    "encoder.bytes_per_pixel": [-1, 10**20],
    "encoder.exact": [0, "no"],
    "stages.0.before": [-1, 10**6],
    "stages.0.after": [-1, 65, 1001],
    "stages.0.margin": [-1, 10**6],
    "stages.0.anchor": ["middle", None, []],
    "stages.0.border": ["mirror", None],
    "stages.0.channels": [0, -3, 10**9],
    "stages.0.project_bytes": [-1, 10**20],
    "stages.0.cell_bytes": [-1, 10**20],
    "stages.0.query_bytes": [-1, 10**20],
    "stages.0.point_bytes": [-1, 10**20],
    "stages.0.chunk_queries": [0, 10**12],
    "stages.0.chunk_cells": [0, 10**12],
    "stages.0.decode": ["", "decode", None, "a\x1b.onnx"],
    "proof.tolerance": [-1, float("nan"), "small"],
    "proof.samples": ["encoder.onnx", None],
    "proof.cases": [None, [{}], [1]],
    "digests": [None, {"a\nb": "0" * 64}, {"a": "0" * 63}, {"a": 1}],
    "engines": [None, [{}], 1],
}

ENGINES = {
    "flavour": ["tensorrt-lite", None],
    "times": [0, 10**12],
    "sides": [[0], [10**12], None],
    "tile": [-1, 10**9],
    "workspace": [-1, "all"],
    "engines": [[{"graph": "x", "member": "y", "digest": "z", "profiles": []}], None],
}

SET = {
    "flavour": "tensorrt", "version": "10.3.0", "targets": ["8.7"], "gpu": None, "driver": None,
    "l4t": None, "tile": 64, "block": 64, "times": 1, "sides": [1], "workspace": None,
    "engines": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def manifest(honest_plan):
    return members_of(honest_plan)[0]


def with_value(manifest, dotted, value):
    """The text of a manifest with one value replaced."""
    made = copy.deepcopy(manifest)
    *way, last = dotted.split(".")
    inside = made
    for step in way:
        inside = inside[int(step) if step.isdigit() else step]
    inside[last] = value
    return json.dumps(made)


def refused(text):
    with pytest.raises(PlanError) as caught:
        Manifest.from_json(text)
    message = error_message(caught.value)
    assert message == printable(message)
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(("dotted", "value"), [(k, v) for k, some in WRONG.items() for v in some])
def test_a_value_out_of_its_range(manifest, dotted, value):
    refused(with_value(manifest, dotted, value))


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, some in ENGINES.items() for v in some])
def test_a_value_of_engines_out_of_its_range(manifest, name, value):
    Manifest.from_json(json.dumps({**manifest, "engines": [SET]}))
    refused(json.dumps({**manifest, "engines": [{**SET, name: value}]}))


def test_every_number_of_the_manifest_has_a_range(manifest):
    for dotted in numbers(manifest):
        for value in (-(10**30), 10**30, "x", None):
            refused(with_value(manifest, dotted, value))


def numbers(inside, dotted=""):
    """Dotted names of the numbers in a manifest, but for those of the hyperparameters."""
    items = inside.items() if isinstance(inside, dict) else enumerate(inside)
    for key, value in items:
        name = f"{dotted}{key}"
        if name in ("hyperparameters", "format"):
            continue
        if isinstance(value, (dict, list)) and name != "proof.cases":
            yield from numbers(value, f"{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name


def test_text_is_made_printable(manifest):
    text = with_value(manifest, "source.name", "a\x1b[31m\u202e\ud800b")
    assert Manifest.from_json(text).source.name == "a?[31m??b"


def test_messages_quote_little_and_nothing_that_acts():
    assert quote("a\x1b\n") == r"'a\x1b\n'"
    assert len(quote("x" * 10_000)) == len(quote(["x" * 10_000])) == 200
    assert quote(10**5000) == "a huge number"
    assert error_message(ValueError("a\x1b[2Jb\u202e\nc")) == "a?[2Jb?\nc"


@pytest.mark.parametrize("r", ["../../x", [1], None, -1, 10**30, float("inf")])
def test_hyperparameters_that_a_family_cannot_have_are_one_sentence(honest_plan, tmp_path, r):
    manifest, members = members_of(honest_plan)
    manifest["hyperparameters"]["r"] = r
    path = write(tmp_path / "odd.plan", manifest, members)
    with pytest.raises(PlanError, match=r"^odd\.plan is damaged: its hyperparameters"):
        clit_deploy.load(path, runtime="cpu")
