import contextlib
import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from clit_deploy.errors import DamageError, MissingFileError, PlanError
from clit_deploy.plan.manifest import FORMAT, Manifest
from clit_deploy.plan.plan_file import Plan, make_plan


def test_round_trip(plan, tmp_path):
    path = plan.save(tmp_path / "copy.plan")
    again = Plan.open(path)
    assert again.manifest == plan.manifest
    assert path.read_bytes() == plan.path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_the_manifest_says_what_the_plan_is(plans):
    manifest = Plan.open(plans["clit"]).manifest
    assert manifest.family == "clit"
    assert manifest.hyperparameters["conv_num"] == len(manifest.stages) == 3
    assert manifest.source.name == "clit.pth"
    assert set(manifest.versions) == {"clit-deploy", "torch", "onnx"}
    assert manifest.proof is not None
    assert len(manifest.proof.cases) == 3
    assert max(case.relative_error for case in manifest.proof.cases) < manifest.proof.tolerance
    with zipfile.ZipFile(plans["clit"]) as archive:
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        assert set(archive.namelist()) == {"manifest.json", *manifest.digests}


def test_json_round_trip(plan):
    assert Manifest.from_json(plan.manifest.to_json()) == plan.manifest


def test_a_missing_plan(tmp_path):
    with pytest.raises(MissingFileError, match="no plan file"):
        Plan.open(tmp_path / "none.plan")


def foreign(folder, kind):
    path = folder / f"some.{kind}"
    if kind == "engine":
        path.write_bytes(b"ftrt" + bytes(500))
    elif kind == "onnx":
        node = onnx.helper.make_node("Relu", ["x"], ["y"])
        value = [onnx.helper.make_tensor_value_info(n, 1, [1]) for n in "xy"]
        graph = onnx.helper.make_graph([node], "g", value[:1], value[1:])
        onnx.save(onnx.helper.make_model(graph), path)
    elif kind == "png":
        Image.new("RGB", (4, 4)).save(path)
    elif kind == "pth":
        torch.save({"model": 1}, path)
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.txt", "a")
    else:
        path.write_bytes({"empty": b"", "text": b"hello there", "byte": b"\x08"}[kind])
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("engine", "bare TensorRT engine"),
        ("onnx", "bare ONNX graph"),
        ("png", "PNG image"),
        ("pth", "PyTorch checkpoint"),
        ("zip", "without a manifest"),
        ("empty", "an empty file"),
        ("text", "not recognized"),
        ("byte", "bare ONNX graph"),
    ],
)
def test_other_files_are_named(tmp_path, kind, words):
    with pytest.raises(PlanError, match=words):
        Plan.open(foreign(tmp_path, kind))


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_plan_that_is_cut_off(plans, tmp_path, part):
    content = plans["liif"].read_bytes()
    path = tmp_path / "cut.plan"
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(PlanError, match="cut off or damaged"):
        Plan.open(path)


def test_a_changed_member_is_noticed(plans, tmp_path):
    plan = Plan.open(plans["liif"])
    content = bytearray(plans["liif"].read_bytes())
    graph = plan.read("encoder.onnx")
    at = bytes(content).index(graph[100:200]) + 5
    content[at] ^= 1
    path = tmp_path / "changed.plan"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"encoder\.onnx"):
        Plan.open(path).read("encoder.onnx")


def test_a_plan_that_was_replaced_is_not_called_damaged(plans, tmp_path):
    """Another process builds engines into it, or exports it again."""
    path = Path(shutil.copy(plans["liif"], tmp_path / "m.plan"))
    early = Plan.open(path)
    Plan.open(path).replaced({"engines/a": b"1"}).save(path)
    assert early.read("encoder.onnx"), "what is still the same may be read"
    Plan.open(plans["clit"]).save(path)
    for member in ("stage0.decode.onnx", "stage0.point.onnx"):
        with pytest.raises(PlanError, match=r"m\.plan was replaced since.*run the command"):
            early.read(member)
    path.unlink()
    with pytest.raises(PlanError, match="was replaced"):
        early.read("encoder.onnx")


@pytest.mark.parametrize(
    ("member", "repair"),
    [("engines/a/b.engine", "Build its engines again"), ("tables.npz", "export it again")],
)
def test_damage_has_the_repair_of_what_is_damaged(plans, tmp_path, member, repair):
    path = Plan.open(plans["liif"]).replaced({member: b"0123456789"}).save(tmp_path / "m.plan")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    with pytest.raises(DamageError, match=rf"is damaged: {member} cannot be read.*{repair}\.$"):
        Plan.open(path).read(member)


def test_damage_anywhere_is_a_plan_error(plans, tmp_path):
    content = plans["liif"].read_bytes()
    path = tmp_path / "bits.plan"
    for at in [*range(60), *range(len(content) - 700, len(content))]:
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        with contextlib.suppress(PlanError):
            plan = Plan.open(path)
            for member in plan.manifest.digests:
                plan.read(member)


def test_a_wrong_digest_is_noticed(plan):
    members = {name: plan.read(name) for name in plan.manifest.digests}
    made = make_plan(plan.manifest, members)
    members["encoder.onnx"] += b"\0"
    with pytest.raises(PlanError, match="does not match its digest"):
        made.read("encoder.onnx")


def test_another_format_version(plan, tmp_path):
    future = dataclasses.replace(plan.manifest, format=99)
    path = tmp_path / "future.plan"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", future.to_json())
    with pytest.raises(PlanError, match=r"format version 99.*reads version 2"):
        Plan.open(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 2, "family": "x"}'])
def test_a_broken_manifest(text):
    with pytest.raises(PlanError, match="manifest"):
        Manifest.from_json(text)


def test_an_unknown_family(plan):
    from clit_deploy.render.tables import tables_of

    strange = dataclasses.replace(plan.manifest, family="thera")
    with pytest.raises(PlanError, match=r"'thera'.*clit, liif, lit, lte"):
        tables_of(Plan(strange, {}))


def test_arrays_come_back(plans):
    arrays = Plan.open(plans["clit"]).arrays("tables.npz")
    assert arrays["bias_row"].shape == (4, 32)
    assert arrays["frequencies"].dtype == np.float64
    assert json.loads(Plan.open(plans["clit"]).manifest.to_json())["format"] == FORMAT


def test_a_damaged_plan_is_damaged_without_its_engines_too(plans, tmp_path):
    plan = Plan.open(plans["liif"])
    path = plan.save(tmp_path / "a.plan")
    content = path.read_bytes()
    place = content.index(plan.read("encoder.onnx")[:64]) + 60
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(DamageError, match="is damaged"):
        Plan.open(path).without_engines().read("encoder.onnx")
