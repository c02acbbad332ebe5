"""A sweep over precisions finds the plans that were made from one checkpoint."""

import pytest

from clit_deploy.errors import OptionError, ProfileError
from clit_deploy.plan.plan_file import Plan
from clit_deploy.profile.profiler import Request, profile
from clit_deploy.profile.sweep import Case, Sweep, cases


@pytest.fixture
def family(plans, tmp_path):
    """An FP32 plan, one called INT8 of the same checkpoint, one of another, and no plan at all."""
    plan = Plan.open(plans["liif"])
    paths = {"fp32": plan.save(tmp_path / "a.plan")}
    paths["int8"] = plan.replaced({}, precision="int8").save(tmp_path / "a-int8.plan")
    other = Plan.open(plans["clit"]).replaced({}, precision="fp16")
    other.save(tmp_path / "b-fp16.plan")
    (tmp_path / "c.plan").write_bytes(b"no plan")
    return paths


def swept(plan, text="precision=fp32,int8"):
    return cases(Case(plan, 1.0), [2.0], [Sweep.parse(text)])


@pytest.mark.parametrize("named", ["fp32", "int8"])
def test_each_precision_is_the_plan_that_has_it(family, named):
    found = swept(family[named])
    assert [requested for requested, _ in found] == [
        {"scale": 2.0, "precision": "fp32"},
        {"scale": 2.0, "precision": "int8"},
    ]
    assert [case.plan for _, case in found] == [family["fp32"], family["int8"]]


def test_a_precision_that_no_plan_has_is_reported_with_its_command(family):
    with pytest.raises(ProfileError, match=r"no fp16 plan of the same .* --precision fp16"):
        swept(family["fp32"], "precision=fp16")
    Plan.open(family["int8"]).save(family["int8"].with_name("z.plan"))
    with pytest.raises(ProfileError, match=r"several int8 plans.*a-int8\.plan, z\.plan"):
        swept(family["fp32"])


def test_plans_and_precisions_are_not_swept_at_once(family):
    both = [Sweep.parse("plan=a.plan"), Sweep.parse("precision=int8")]
    with pytest.raises(OptionError, match="cannot be combined"):
        cases(Case(family["fp32"], 1.0), [2.0], both)


def test_decibels_are_measured_against_the_plan_beside_it(family, picture):
    request = Request(plan=family["int8"], image=picture, scales=[2.0], iterations=2, runtime="cpu")
    (row,) = profile(request).rows
    assert row.quality is not None
    assert row.quality.reference.startswith("a.plan")


def test_of_two_plans_beside_it_none_is_the_reference(family, picture):
    Plan.open(family["fp32"]).save(family["fp32"].with_name("b.plan"))
    request = Request(plan=family["int8"], image=picture, scales=[2.0], iterations=1, runtime="cpu")
    (row,) = profile(request).rows
    assert row.quality is None
    assert "--reference" in row.unavailable["quality"]


def test_a_link_is_no_other_plan(family):
    family["int8"].with_name("latest.plan").symlink_to(family["int8"])
    assert len(swept(family["fp32"])) == 2


def test_a_damaged_plan_beside_it_does_not_cost_the_row(family, picture):
    content = bytearray(family["fp32"].read_bytes())
    place = content.index(Plan.open(family["fp32"]).read("encoder.onnx")[:64]) + 60
    content[place] ^= 1
    family["fp32"].write_bytes(content)
    request = Request(plan=family["int8"], image=picture, scales=[2.0], iterations=1, runtime="cpu")
    (row,) = profile(request).rows
    assert "a.plan is damaged" in row.unavailable["quality"]
