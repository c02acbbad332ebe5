"""The JSON file: what was written comes back, and whatever else is there is one clear error."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from clit_deploy.errors import ClitDeployError, ProfileError
from clit_deploy.profile.diff import compare_profiles
from clit_deploy.profile.page import to_html
from clit_deploy.profile.profile_file import Profile
from clit_deploy.profile.table import show, show_changes
from clit_deploy.profile.text import label, verdict


def test_what_was_written_comes_back(measured):
    text = measured.to_json()
    again = Profile.from_json(text)
    assert again == measured
    assert again.to_json() == text


@pytest.mark.parametrize("version", [3, 99])
def test_newer_versions_ask_for_a_newer_program(measured, version):
    content = {**json.loads(measured.to_json()), "schema": version}
    with pytest.raises(ProfileError, match="install a newer"):
        Profile.from_json(json.dumps(content))


@pytest.mark.parametrize("version", [0, "1", 1.0, True, None, []])
def test_other_versions_are_measured_again(measured, version):
    content = {**json.loads(measured.to_json()), "schema": version}
    with pytest.raises(ProfileError, match="measure it again"):
        Profile.from_json(json.dumps(content))


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "3", '{"format": 1}', "\x00", b"\xff\xfe", "[" * 200_000, "9" * 10_000,
     '{"schema": 2, "rows": NaN}', '{"schema": 2, "rows": 1e999}'],
)  # fmt: skip
def test_other_files_are_no_profiles(text):
    with pytest.raises(ProfileError, match="is not a profile"):
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
        ("image", None),
        ("rows.0", None),
        ("rows.0.requested", None),
        ("rows.0.requested", [1]),
        ("rows.0.requested.scale", None),
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
        ("rows.0.output", [1, 2]),
        ("rows.0.output.width", 0),
        ("rows.0.memory", None),
        ("rows.0.memory.host_peak", 0),
        ("rows.0.memory.host_peak", 0.5),
        ("rows.0.quality.psnr_db", None),
        ("rows.0.quality.psnr_db", "high"),
        ("rows.0.power.rails", {"VIN": 1}),
        ("rows.0.power.joules_per_image", 0),
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
    ) as raised:
        Profile.from_json(json.dumps(content), "a.json")
    assert len(str(raised.value)) < 160


def test_deep_nesting_inside_a_profile(measured):
    text = measured.to_json().replace(
        '"requested": {', '"requested": {"x": ' + "[" * 50_000 + "]" * 50_000 + ", "
    )
    with pytest.raises(ProfileError):
        Profile.from_json(text)


def test_whole_numbers_are_numbers_and_unknown_fields_are_left_out(measured):
    content = json.loads(measured.to_json())
    content["rows"][0]["host_ms"]["p50"] = 7
    content["rows"][0]["later"] = {"a": 1}
    assert compare_profiles(measured, Profile.from_json(json.dumps(content)), 5.0)


OLD = Path(__file__).with_name("format-1.json")


def test_profiles_of_earlier_versions_are_read(measured):
    """Written by the release before schema 2."""
    old = Profile.from_json(OLD.read_bytes())
    row = old.rows[0]
    assert row.requested == {"scale": 2.0, "threads": 1}
    assert (row.output.width, row.output.height) == (40, 48)
    assert row.unavailable["device"] == "its graphs run on the processor"
    assert "encoder.onnx" in {one.member for one in row.graphs}
    assert Profile.from_json(old.to_json()) == replace(old, schema=2)
    slower = replace(row, host_ms=replace(row.host_ms, p50=2 * row.host_ms.p50), runs=tuple(
        (start, 2 * ms) for start, ms in row.runs
    ))  # fmt: skip
    found = compare_profiles(old, replace(old, rows=(slower, *old.rows[1:])), 100 / 3)
    assert {c.verdict for c in found.changes if c.name == "latency"} >= {"worse"}


@pytest.mark.parametrize("name", ["picture", "machine", "rows", "failed"])
@pytest.mark.parametrize("value", [None, 3, [None], {"a": "b"}, GONE])
def test_damaged_profiles_of_earlier_versions(name, value):
    content = json.loads(OLD.read_text())
    if value is GONE:
        del content[name]
    else:
        content[name] = value
    if (name, value) == ("failed", GONE):
        return
    with pytest.raises(ProfileError):
        Profile.from_json(json.dumps(content))


def test_texts_of_a_foreign_profile_are_safe_to_print(measured):
    content = json.loads(measured.to_json())
    content["rows"][0]["requested"] = {"scale\x1b[2J": "\u202e4\r\n"}
    content["machine"]["module"] = "\x1b]0;title\x07board"
    found = Profile.from_json(json.dumps(content))
    assert label(found.rows[0]).isprintable()
    assert found.machine.module == "?]0;title?board"
    content["rows"] = "\x1b[2J" * 1000
    with pytest.raises(ProfileError) as raised:
        Profile.from_json(json.dumps(content), "a.json")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


VALUES = (None, 0, -1, 1e308, 5e-324, 1 << 62, True, "", "x" * 5000, "\x1b[31m", "[/red]", "\ud800",
          [], {}, [1, 2], [[]], {"a": 1}, [None], "nan")  # fmt: skip


def places(value):
    """Every container of a JSON file with each of its keys."""
    items = value if isinstance(value, dict) else dict(enumerate(value))
    for key, inner in items.items():
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from places(inner)


def test_any_damage_is_one_sentence_or_can_be_shown():
    rng, good = random.Random(0), Profile.from_json(OLD.read_bytes())  # noqa: S311
    shown, messages = 0, []
    out = Console(file=io.StringIO(), width=100)
    for _ in range(200):
        content = json.loads(rng.choice((OLD.read_text(), good.to_json())))
        for _ in range(rng.randint(1, 3)):
            container, key = rng.choice(list(places(content)))
            if rng.random() < 0.2:
                del container[key]
            else:
                container[key] = rng.choice(VALUES)
        try:
            found = Profile.from_json(json.dumps(content), "a.json")
            show(found, out)
            shown += bool(to_html(found) and found.to_csv() and verdict(found))
            show_changes(compare_profiles(good, found, 5.0, floating=True), out)
        except ClitDeployError as error:
            messages.append(str(error))
    assert shown > 10
    assert len(messages) > 50
    assert all(message.isprintable() for message in messages)
