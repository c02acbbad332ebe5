"""The parts of scripts/gpu-check that need no GPU: what is measured, and what is written down."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import numpy as np
import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import Row, agreement, eager, input_of, one_row, rows_of, table
from benchmarks.gpu_models import model_of, spec_of
from clit_deploy.errors import RuntimeUnavailableError
from tests.helpers import ROOT

ROW = Row("liif", 2, "8x6", "plan fp32 webgpu", None, None, None, None)


@pytest.mark.parametrize("scale", [2, 4, 12, 30])
def test_inputs_are_cropped_until_the_output_is_not_too_large(scale):
    for size in gpu.INPUTS:
        height, width, _ = input_of(*size, scale).shape
        assert height * width * scale**2 <= gpu.LARGEST
        assert abs(width / height - 16 / 9) < 0.05
        if size[0] * size[1] * scale**2 <= gpu.LARGEST:
            assert (width, height) == size


@pytest.mark.parametrize("family", ["clit", "liif"])
def test_weights_follow_from_a_rule_and_have_three_values(family):
    spec = spec_of(family, tiny=True)
    one, two = model_of(spec).state_dict(), model_of(spec).state_dict()
    for key, value in one.items():
        assert torch.equal(value, two[key])
        if value.is_floating_point() and value.ndim > 1 and "mean" not in key:
            assert len(value.unique()) <= 3, key


def test_the_sizes_are_the_published_ones():
    clit, liif = spec_of("clit")["args"], spec_of("liif")["args"]
    assert (clit["base_dim"], clit["head"], clit["r"], clit["imnet_num"]) == (256, 8, 3, 3)
    assert clit["encoder_spec"]["name"] == liif["encoder_spec"]["name"] == "edsr-baseline"


def test_a_contender_that_is_not_there_has_a_note_and_no_figures():
    @contextlib.contextmanager
    def missing():
        raise RuntimeUnavailableError("There is no NVIDIA driver.\nline 2")
        yield

    row, output = one_row(ROW, missing, (input_of(8, 6, 2), 2), None)
    assert (row.note, output) == ("There is no NVIDIA driver.", None)
    assert table([row]) == table([])


def test_a_row_has_speed_and_agreement():
    work = input_of(8, 6, 2), 2
    model = model_of(spec_of("liif", tiny=True))
    with eager(model, "cpu", "fp32") as run:
        expected = run(work)
    assert expected.shape == (12, 16, 3)
    row, output = one_row(ROW, lambda: eager(model, "cpu", "fp32"), work, expected + 1e-3)
    assert row.psnr == pytest.approx(60, abs=0.1)
    assert row.megapixels_per_second > 0
    assert np.array_equal(output, expected)
    (line,) = table([row])[2:]
    assert line.startswith("| LIIF x2 | 8x6 | plan fp32 webgpu |")
    assert line.endswith("| 0 | 60.0 |")
    assert agreement(expected, None) is None
    assert agreement(expected, expected) is None


def test_what_begins_too_late_is_written_down(tmp_path):
    rows = list(rows_of(tmp_path, 0, None, tiny=True))
    assert {row.note for row in rows} == {"no time was left"}
    assert {(row.model, row.scale) for row in rows} == set(gpu.TINY_CASES)


def test_one_json_has_the_machine_the_tests_and_the_rows(tmp_path):
    (tmp_path / "tests.xml").write_text(
        '<testsuites><testsuite tests="9" failures="1" errors="0" skipped="2"/></testsuites>'
    )
    gpu.write(tmp_path / "gpu.json", {"gpu": "H100"}, [ROW], tmp_path / "tests.xml")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["machine"] == {"gpu": "H100"}
    assert found["tests"] == {"tests": "9", "failures": "1", "errors": "0", "skipped": "2"}
    assert found["rows"][0]["contender"] == "plan fp32 webgpu"


@pytest.mark.parametrize("name", ["gpu-check", "gpu-go"])
def test_the_scripts_can_be_read_by_a_shell(name):
    path = ROOT / "scripts" / name
    assert os.access(path, os.X_OK)
    subprocess.run(["bash", "-n", path], check=True)
