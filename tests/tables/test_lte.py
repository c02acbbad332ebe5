import numpy as np

from clit_deploy.models import build_model
from clit_deploy.tables.lte import LteTables
from tests.helpers import tiny_lte


def test_the_cell_is_that_of_x4_beyond_it():
    tables, model = LteTables({}, {}), build_model(tiny_lte())
    for scale in (2, 4, 12.5):
        output = round(10 * scale), round(16 * scale)
        got = tables.cell((10, 16), output, scale)
        expected = np.multiply(model.cell(output, scale), (10, 16))
        assert np.allclose(got, expected)
    assert np.allclose(tables.cell((10, 10), (120, 120), 12), [[0.5, 0.5]])
    assert np.allclose(tables.cell((10, 10), (20, 20), 2), [[1, 1]])
