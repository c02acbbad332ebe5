import numpy as np

from clit_deploy.grid.geometry import Axis, GroupedOutputs, Span
from clit_deploy.models import build_model
from clit_deploy.render.tables.lte_tables import LteTables
from tests.helpers import tiny_lte

TABLES = LteTables({}, {})


def cell(grid, output, scale):
    slots = [
        GroupedOutputs.sort(Axis(g, o), Span(0, o), "corner")
        for g, o in zip(grid, output, strict=True)
    ]
    return TABLES.cell(*slots, scale)


def test_the_cell_is_that_of_x4_beyond_it():
    model = build_model(tiny_lte())
    for scale in (2, 4, 12.5):
        output = round(10 * scale), round(16 * scale)
        expected = np.multiply(model.cell(output, scale), (10, 16))
        assert np.allclose(cell((10, 16), output, scale), expected)
    assert np.allclose(cell((10, 10), (120, 120), 12), [[0.5, 0.5]])
    assert np.allclose(cell((10, 10), (20, 20), 2), [[1, 1]])
