"""The JSON file: what was written comes back, and whatever else is there is one clear error."""

from __future__ import annotations

import json

import pytest

from clit_deploy.errors import ProfileError
from clit_deploy.profile.diff import compare_profiles
from clit_deploy.profile.profile_file import Profile


def test_what_was_written_comes_back(measured):
    text = measured.to_json()
    again = Profile.from_json(text)
    assert again == measured
    assert again.to_json() == text


@pytest.mark.parametrize("version", [2, 99])
def test_newer_versions_ask_for_a_newer_program(measured, version):
    content = {**json.loads(measured.to_json()), "format": version}
    with pytest.raises(ProfileError, match="install a newer"):
        Profile.from_json(json.dumps(content))


@pytest.mark.parametrize("version", [0, "1", 1.0, True, None, []])
def test_other_versions_are_measured_again(measured, version):
    content = {**json.loads(measured.to_json()), "format": version}
    with pytest.raises(ProfileError, match="measure it again"):
        Profile.from_json(json.dumps(content))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "3", '{"format": 1}', "\x00", b"\xff\xfe", "[" * 200_000, "9" * 10_000,
     '{"format": 1, "rows": NaN}'],
)  # fmt: skip
def test_other_files_are_no_profiles(text):
    with pytest.raises(ProfileError, match="is no profile"):
        Profile.from_json(text)


GONE = object()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("rows", 3),
        ("rows", {}),
        ("rows", []),
        ("machine", None),
        ("machine.versions", None),
        ("machine.versions.python", 3),
        ("picture", None),
        ("rows.0", None),
        ("rows.0.asked", None),
        ("rows.0.asked", [1]),
        ("rows.0.asked.scale", None),
        ("rows.0.host_ms", GONE),
        ("rows.0.host_ms.p50", GONE),
        ("rows.0.host_ms.p50", 0),
        ("rows.0.host_ms.p50", "3"),
        ("rows.0.host_ms.p50", None),
        ("rows.0.host_ms.p50", True),
        ("rows.0.runs", None),
        ("rows.0.runs", []),
        ("rows.0.runs", [[1]]),
        ("rows.0.runs", [[0, -1]]),
        ("rows.0.runs", [["0", "1"]]),
        ("rows.0.phases", None),
        ("rows.0.caveats", None),
        ("rows.0.caveats", GONE),
        ("rows.0.output", [1, 2, 3]),
        ("rows.0.output", [0, 2]),
        ("rows.0.memory", None),
        ("rows.0.memory.host_peak", 0),
        ("rows.0.memory.host_peak", 0.5),
        ("rows.0.quality.psnr_db", None),
        ("rows.0.quality.psnr_db", "high"),
        ("rows.0.power.rails", {"VIN": 1}),
    ],
)
def test_damaged_profiles_are_one_clear_error(measured, path, value):
    content = json.loads(measured.to_json())
    *above, last = [int(part) if part.isdecimal() else part for part in path.split(".")]
    place = content
    for part in above:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    with pytest.raises(
        ProfileError, match=r"^a\.json is damaged \(.*; measure it again\.$"
    ) as told:
        Profile.from_json(json.dumps(content), "a.json")
    assert len(str(told.value)) < 160


def test_deep_nesting_inside_a_profile(measured):
    text = measured.to_json().replace(
        '"asked": {', '"asked": {"x": ' + "[" * 50_000 + "]" * 50_000 + ", "
    )
    with pytest.raises(ProfileError):
        Profile.from_json(text)


def test_whole_numbers_are_numbers_and_unknown_fields_are_left_out(measured):
    content = json.loads(measured.to_json())
    content["rows"][0]["host_ms"]["p50"] = 7
    content["rows"][0]["later"] = {"a": 1}
    assert compare_profiles(measured, Profile.from_json(json.dumps(content)), 5.0)
