"""A short run of the fuzz of images, with fixed seeds; `image_fuzz.py` runs longer by hand."""

from __future__ import annotations

import os

from tests.security.image_fuzz import fuzz

TRIES = int(os.environ.get("CLIT_DEPLOY_FUZZ", "300"))
MOST_MEMORY = 500_000_000
MOST_SECONDS = 5


def test_whatever_an_image_file_holds_ends_in_pixels_or_in_one_sentence():
    result = fuzz(TRIES, seed=7)
    assert not result.failures
    assert result.most_memory < MOST_MEMORY
    assert result.most_seconds < MOST_SECONDS
    assert 0.3 * TRIES < result.refused < TRIES, "the fuzz changes too little or too much"
