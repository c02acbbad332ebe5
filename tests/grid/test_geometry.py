from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clit_deploy.grid.geometry import Axis, GroupedOutputs, Span

grids = st.integers(1, 60)


@st.composite
def axes(draw):
    grid = draw(grids)
    return Axis(grid, draw(st.integers(grid, grid * 33)))


def position(axis: Axis, i: int) -> Fraction:
    return Fraction((2 * i + 1) * axis.grid, 2 * axis.out)


@given(axes())
def test_cells_are_the_nearest_pixel_with_ties_to_even(axis):
    cells = axis.cells(Span(0, axis.out), "pixel")
    for i, cell in enumerate(cells):
        assert cell == round(position(axis, i) - Fraction(1, 2))


@given(axes())
def test_corner_cells_lie_between_the_centres_of_two_pixels(axis):
    cells = axis.cells(Span(0, axis.out), "corner")
    for i, cell in enumerate(cells):
        assert cell + Fraction(1, 2) <= position(axis, i) < cell + Fraction(3, 2)


@given(axes(), st.integers(1, 9))
def test_outputs_of_pixels_partition_the_output(axis, parts):
    cuts = sorted({round(axis.grid * k / parts) for k in range(parts + 1)})
    spans = [axis.outputs(Span(a, b)) for a, b in pairwise(cuts)]
    assert [i for span in spans for i in range(span.start, span.stop)] == list(range(axis.out))
    for pixels, span in zip(pairwise(cuts), spans, strict=True):
        for i in range(span.start, span.stop):
            assert pixels[0] <= position(axis, i) < pixels[1]


@given(axes())
def test_offsets_are_exact(axis):
    outputs = np.arange(axis.out)
    cells = axis.cells(Span(0, axis.out), "pixel")
    for i, got in enumerate(axis.offset(outputs, cells)):
        assert got == pytest.approx(float(2 * (position(axis, i) - int(cells[i])) - 1), abs=1e-15)


@given(axes(), st.data(), st.sampled_from(["pixel", "corner"]))
def test_slots_hold_every_output_once_and_take_keeps_that(axis, data, anchor):
    start = data.draw(st.integers(0, axis.out - 1))
    span = Span(start, data.draw(st.integers(start + 1, axis.out)))
    slots = GroupedOutputs.sort(axis, span, anchor)
    outputs = np.arange(span.start, span.stop)
    assert np.array_equal(slots.index.ravel()[slots.gather], outputs)
    cells = np.broadcast_to(slots.pixels(), slots.index.shape).ravel()[slots.gather]
    assert np.array_equal(cells, axis.cells(span, anchor))
    cut = data.draw(st.integers(1, len(slots.cells)))
    parts = [slots.take(part) for part in Span(0, len(slots.cells)).split(cut)]
    assert np.array_equal(np.concatenate([p.index.ravel()[p.gather] for p in parts]), outputs)
    assert all(part.n <= slots.n for part in parts)


@given(st.integers(0, 50), st.integers(0, 90), st.integers(1, 40))
def test_split_is_even_and_complete(start, length, size):
    spans = Span(start, start + length).split(size)
    assert [i for s in spans for i in range(s.start, s.stop)] == list(range(start, start + length))
    lengths = [len(span) for span in spans] or [0]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1


def test_positions_stay_exact_on_huge_outputs():
    axis = Axis(19_999, 599_970)
    last = np.array([axis.out - 1])
    assert axis.offset(last, np.array([19_998]))[0] == pytest.approx(1 - 1 / 30, abs=1e-12)
