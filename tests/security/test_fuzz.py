"""A short run of the fuzz. `CLIT_DEPLOY_FUZZ` sets the number of tries; `fuzz.py` runs by hand."""

from __future__ import annotations

import os

from tests.security.fuzz import Fuzz

TRIES = int(os.environ.get("CLIT_DEPLOY_FUZZ", "100"))
SEED = 7
MOST_MEMORY = 300_000_000
MOST_SECONDS = 5


def test_whatever_a_plan_holds_ends_in_an_output_or_in_one_sentence(honest_plan, tmp_path):
    fuzz = Fuzz(honest_plan, tmp_path, SEED)
    for number in range(TRIES):
        fuzz.one(number)
    assert not fuzz.result.failures
    assert fuzz.result.most_memory < MOST_MEMORY
    assert fuzz.result.most_seconds < MOST_SECONDS
    assert 0.3 * TRIES < fuzz.result.refused < TRIES, "the fuzz changes too little or too much"
