"""Memory, views and copies on a device that does its work as late as it may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clit_deploy.errors import DeviceMemoryError
from clit_deploy.runtimes.cuda import staging
from clit_deploy.runtimes.cuda.device_arrays import DeviceArrays, Pool, dense
from tests.fakes.machine import Machine

FLOAT, HALF = np.dtype(np.float32), np.dtype(np.float16)
MB = 1 << 20


def numbers(*shape, dtype=FLOAT):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# -- the pool ------------------------------------------------------------------------------------


def test_a_piece_that_was_let_go_is_used_again(machine, api):
    pool = Pool(machine.cuda)
    piece = pool.take(10_000)
    pointer = piece.pointer
    del piece
    again = pool.take(9_900)
    assert again.pointer == pointer
    assert pool.take(9_900).pointer != pointer
    assert api.mallocs == 2


def test_the_last_piece_given_is_taken_first(machine):
    """So that the same work finds the same addresses, and recorded launches fit."""
    pool = Pool(machine.cuda)
    one, other = pool.take(1000), pool.take(1000)
    last = other.pointer
    del one
    del other
    assert pool.take(1000).pointer == last


@given(size=st.integers(1, 1 << 34))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_sizes_are_rounded_up_by_a_quarter_at_most(size):
    class Memory:
        def malloc(self, size):
            self.asked = size
            return 0

    cuda = Memory()
    Pool(cuda).take(size)
    assert size <= cuda.asked <= max(1.25 * size + 1, size + 512)
    assert cuda.asked % 512 == 0


def test_short_memory_takes_back_what_is_unused_and_tries_again():
    machine = Machine.make(total=10 * MB)
    pool = Pool(machine.cuda)
    del [pool.take(2 * MB) for _ in range(3)][:]
    kept = pool.take(2 * MB)
    assert pool.held == 6 * MB
    large = pool.take(8 * MB)
    assert pool.held == machine.api.used == 10 * MB
    assert kept.pointer != large.pointer


def test_a_full_device_says_what_is_needed_and_what_is_free():
    pool = Pool(Machine.make(total=10_000_000).cuda)
    kept = pool.take(4_000_000)
    with pytest.raises(DeviceMemoryError) as caught:
        pool.take(8_000_000)
    for words in ("8 MB more are needed", "6 MB are free", "this process uses 4 MB", "Close"):
        assert words in str(caught.value)
    assert kept.size == pool.held


def test_everything_goes_back_at_the_end(machine, api):
    arrays = DeviceArrays(machine.cuda)
    held = arrays.upload(numbers(100, 100), FLOAT)
    arrays.host(arrays.upload(numbers(7), FLOAT))
    arrays.close()
    assert api.used > 0, "a tensor that is still used keeps its memory"
    del held
    assert api.used == 0
    assert not api.pinned
    assert not api.streams


# -- views and copies ----------------------------------------------------------------------------


def there(arrays, array):
    """An upload, checked against what the host has."""
    return arrays.upload(array, array.dtype)


def fetched(arrays, view):
    """A view's numbers, by way of a dense copy."""
    whole = arrays.empty(view.shape, view.dtype)
    arrays.copy(whole, view)
    return arrays.host(whole)


@st.composite
def shape_and_index(draw, whole_numbers=True):
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple))
    kinds = [st.builds(slice, st.integers(-7, 7), st.integers(-7, 7))]
    kinds += [st.just(slice(None))]
    index = []
    for length in shape[: draw(st.integers(1, len(shape)))]:
        whole = [st.integers(-length, length - 1)] if whole_numbers else []
        index.append(draw(st.one_of(*whole, *kinds)))
    return shape, tuple(index)


@given(case=shape_and_index())
@settings(max_examples=80, derandomize=True, deadline=None)
def test_views_are_those_of_numpy(case):
    shape, index = case
    host = numbers(*shape)
    device = DeviceArrays(Machine.make(total=MB).cuda).empty(shape, FLOAT)
    view, expected = device[index], np.asarray(host[index])
    assert view.shape == expected.shape
    if expected.size:
        assert view.pointer - device.pointer == 4 * int(expected.flat[0])
        used = [k for k, length in enumerate(view.shape) if length > 1]
        assert [view.strides[k] for k in used] == [expected.strides[k] for k in used]
        single = expected.size == 1
        assert view.contiguous or not expected.flags.c_contiguous or single or 1 in view.shape


@given(case=shape_and_index(whole_numbers=False), half=st.booleans())
@settings(max_examples=120, derandomize=True, deadline=None)
def test_boxes_are_copied_like_numpy_s(case, half):
    """Out of a larger tensor and into another place of one, from one axis to four."""
    shape, index = case
    dtype = HALF if half else FLOAT
    arrays = DeviceArrays(Machine.make(total=MB).cuda)
    source, target = numbers(*shape, dtype=dtype), -numbers(*(n + 2 for n in shape), dtype=dtype)
    cut = source[index]
    place = tuple(slice(1, 1 + n) for n in cut.shape)
    device = there(arrays, target)
    view = there(arrays, source)[index]
    if cut.size and sum(n > 1 for n in cut.shape[:-1]) == 3:
        with pytest.raises(
            AssertionError, match="more than three axes"
        ):  # a width, rows, planes, no more
            arrays.copy(device[place], view)
        return
    arrays.copy(device[place], view)
    target[place] = cut
    assert np.array_equal(arrays.host(device), target)


def test_the_copies_that_scheduler_and_maps_make_are_single_calls(arrays, api):
    """Features have four axes, of which the last two are cut; windows have three."""
    features = there(arrays, numbers(1, 5, 9, 11))
    patch = arrays.zeros((1, 5, 7, 8), FLOAT)
    arrays.copy(patch[:, :, 1:6, 2:8], features[:, :, 3:8, 4:10])
    maps = there(arrays, numbers(9, 10, 16))
    window = arrays.empty((7, 2, 8, 16), FLOAT)
    arrays.copy(window[3], maps[4:6, 1:9])
    expected = np.zeros((1, 5, 7, 8), np.float32)
    expected[:, :, 1:6, 2:8] = numbers(1, 5, 9, 11)[:, :, 3:8, 4:10]
    assert np.array_equal(arrays.host(patch), expected)
    assert np.array_equal(arrays.host(window[3]), numbers(9, 10, 16)[4:6, 1:9])
    assert api.count("copy3d") == 1
    assert api.count("copy2d") == 1


def test_views_of_another_shape_or_type_are_not_copied(arrays):
    a = arrays.empty((4, 4), FLOAT)
    with pytest.raises(AssertionError):
        arrays.copy(a[:2], a[:3])
    with pytest.raises(AssertionError):
        arrays.copy(a, arrays.empty((4, 4), HALF))
    with pytest.raises(AssertionError, match="contiguous"):
        arrays.host(a[:, :2])
    arrays.copy(a[:0], a[4:])  # nothing to do is no error


def test_a_view_keeps_its_memory(arrays):
    """The tensor itself may be let go while a part of it is used."""
    view = there(arrays, numbers(6, 6))[2:3]
    others = [arrays.zeros((6, 6), FLOAT) for _ in range(3)]
    assert np.array_equal(fetched(arrays, view), numbers(6, 6)[2:3])
    assert all(not arrays.host(other).any() for other in others)


# -- there and back ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [FLOAT, HALF])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4, 5)])
def test_there_and_back(arrays, dtype, shape):
    values = np.random.RandomState(0).randn(*shape).astype(np.float32)
    device = arrays.upload(values, dtype)
    assert (device.shape, device.dtype, device.strides) == (
        shape,
        dtype,
        dense(shape, dtype.itemsize),
    )
    back = arrays.host(device)
    assert back.dtype == np.float32
    assert np.array_equal(back, values.astype(dtype))


def test_an_upload_takes_any_layout_of_the_host(arrays):
    turned = numbers(4, 5, 6).transpose(2, 0, 1)[::2]
    assert np.array_equal(arrays.host(arrays.upload(turned, FLOAT)), turned)


def test_what_was_fetched_stays_when_pinned_memory_is_used_again(arrays):
    first = arrays.host(arrays.upload(numbers(50), FLOAT))
    arrays.host(arrays.upload(-numbers(50), FLOAT))
    assert np.array_equal(first, numbers(50))


# -- order ---------------------------------------------------------------------------------------


def two_uploads(arrays):
    """What two tensors of one size hold that were uploaded one after the other."""
    first = arrays.upload(numbers(50), FLOAT)
    second = arrays.upload(-numbers(50), FLOAT)
    return arrays.host(first), arrays.host(second)


def test_pinned_memory_is_not_used_again_before_its_copy_is_done(arrays, api, monkeypatch):
    monkeypatch.setattr(staging, "BUFFERS", 1)
    first, second = two_uploads(arrays)
    assert np.array_equal(first, numbers(50))
    assert np.array_equal(second, -numbers(50))
    assert len(api.pinned) <= 2, "and it is used again"


def test_without_that_wait_the_first_upload_would_be_lost(machine, monkeypatch):
    """The fake device is late enough to notice: the proof of the test above."""
    monkeypatch.setattr(staging, "BUFFERS", 1)
    arrays, waited = DeviceArrays(machine.cuda), machine.cuda.wait_here
    monkeypatch.setattr(machine.cuda, "wait_here", lambda event: None)
    first = arrays.upload(numbers(50), FLOAT)
    arrays.upload(-numbers(50), FLOAT)
    monkeypatch.setattr(machine.cuda, "wait_here", waited)
    assert not np.array_equal(arrays.host(first), numbers(50))


def test_a_download_waits_for_what_computes(machine, monkeypatch):
    arrays = DeviceArrays(machine.cuda)
    assert not arrays.host(arrays.zeros((50,), FLOAT)).any()
    monkeypatch.setattr(machine.cuda, "wait", lambda stream, event: None)
    assert arrays.host(arrays.zeros((60, 60), FLOAT)).any(), "proof that it has to"


def test_nothing_waits_for_the_device_but_a_download(machine, monkeypatch):
    """What computes is enqueued; the host goes on."""
    arrays = DeviceArrays(machine.cuda)
    device = arrays.upload(numbers(50), FLOAT)
    others = [arrays.upload(numbers(50), FLOAT) for _ in range(5)]
    arrays.copy(arrays.zeros((50,), FLOAT), others[0])
    assert len(arrays.compute.work) >= 8, "uploads take pieces of their own meanwhile"
    arrays.host(device)
    assert not arrays.compute.work
