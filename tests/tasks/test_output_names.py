"""Where results go, and which images are meant."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from clit_deploy.errors import MissingFileError, OptionError, OutputError, OutputExistsError
from clit_deploy.images.image_folders import images_in
from clit_deploy.tasks.image_sources import image_sources, read_list
from clit_deploy.tasks.image_tasks import check_tasks
from clit_deploy.tasks.output_names import output_tasks
from clit_deploy.tasks.output_size import OutputSize
from clit_deploy.tasks.output_template import FIELDS, TemplateFields

X2 = [OutputSize(scale=2)]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"x")


def targets(*names, sizes=X2, output=None, **options):
    sources = image_sources(map(Path, names))
    return [str(t.target) for t in output_tasks(sources, sizes, output, **options)]


def test_what_a_folder_holds():
    files("p/b.png", "p/a.JPG", "p/._a.png", "p/.hidden.png", "p/Thumbs.db", "p/.DS_Store")
    files("p/notes.txt", "p/sub/c.webp", "p/.git/d.png", "p/sub/deep/e.tif")
    assert [str(s.path) for s in image_sources([Path("p")])] == [
        "p/a.JPG",
        "p/b.png",
        "p/sub/c.webp",
        "p/sub/deep/e.tif",
    ]
    flat = [str(s.path) for s in image_sources([Path("p")], recursive=False)]
    assert flat == ["p/a.JPG", "p/b.png"] == [str(path) for path in images_in(Path("p"))]
    assert [str(s.path) for s in image_sources([Path("p/**/*.tif")])] == ["p/sub/deep/e.tif"]
    assert [str(s.path) for s in image_sources([Path("p/*")])] == ["p/a.JPG", "p/b.png"]
    twice = image_sources([Path("p/b.png"), Path("p")])
    assert [str(s.path) for s in twice][:2] == ["p/b.png", "p/a.JPG"]
    assert len(twice) == 4
    assert len(image_sources([Path("p")], without=Path("p/sub"))) == 2


def test_a_name_that_leads_nowhere():
    files("empty/notes.txt")
    for name, words in [
        ("no.png", "no image file no.png"),
        ("empty", "The folder empty contains no images"),
        ("*.png", r"No image matches \*\.png"),
    ]:
        with pytest.raises(MissingFileError, match=words):
            image_sources([Path(name)])


def test_a_named_file_may_have_any_name():
    files(".hidden", "scan[1].dat")
    assert len(image_sources([Path(".hidden"), Path("scan[1].dat")])) == 2


def test_lists(monkeypatch):
    files("a.png", "p/b.png", "p/c.png")
    Path("list").write_text("a.png\n\np\nno.png\n")
    found = image_sources([], read_list(Path("list")))
    assert [str(s.path) for s in found] == ["a.png", "p/b.png", "p/c.png", "no.png"]
    Path("zeros").write_bytes(b"a.png\0two\nlines.png\0")
    assert read_list(Path("zeros")) == [Path("a.png"), Path("two\nlines.png")]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"p/b.png\r\n")))
    assert read_list(Path("-")) == [Path("p/b.png")]
    Path("empty").write_text("\n")
    for name in ("no", "empty"):
        with pytest.raises(MissingFileError):
            read_list(Path(name))


def test_names_of_results():
    files("a.png", "p/b.png", "p/sub/c.png")
    assert targets("a.png") == ["a_x2.png"]
    assert targets("a.png", output="r.png") == ["r.png"]
    assert targets("a.png", output="r/") == ["r/a_x2.png"]
    assert targets("a.png", "p/b.png") == ["a_x2.png", "p/b_x2.png"]
    assert targets("a.png", "p/b.png", output="r") == ["r/a_x2.png", "r/b_x2.png"]
    assert targets("p", output="r") == ["r/b_x2.png", "r/sub/c_x2.png"]
    assert targets("p") == ["p_x2/b_x2.png", "p_x2/sub/c_x2.png"]
    both = [OutputSize(scale=2), OutputSize(longest=900)]
    assert targets("a.png", sizes=both) == ["a_x2.png", "a_longest900.png"]
    assert targets("p", in_place=True) == ["p/b.png", "p/sub/c.png"]


def test_images_that_differ_in_their_extension_only():
    files("p/a.jpg", "p/a.png", "p/b.tif", "p/b.webp", "p/c.gif", "q/c.png")
    expected = ["r/a_jpg_x2.png", "r/a_x2.png", "r/b_tif_x2.png", "r/b_webp_x2.png", "r/c_x2.png"]
    assert targets("p", output="r") == expected
    jpg = targets("p/a.png", "p/a.jpg", output="r", extension=lambda _: ".jpg")
    assert jpg == ["r/a_png_x2.jpg", "r/a_x2.jpg"]
    files("q/c.gif")
    with pytest.raises(OutputExistsError, match=r"p/c\.gif and q/c\.gif; rename one"):
        targets("p/c.gif", "q/c.gif", output="r")


def test_templates():
    assert set(FIELDS) == set(TemplateFields.__dataclass_fields__)
    files("a.png", "p/sub/b.png")
    size = {"size_of": lambda _: (10, 20)}
    made = targets("a.png", "p", output="{folder}/{stem}_{scale}x_{number:02}.{ext}", **size)
    assert made == ["a_2x_01.png", "sub/b_2x_02.png"]
    fit = targets(
        "a.png", sizes=[OutputSize(width=50)], output="{size}_{scale}_{height}.png", **size
    )
    assert fit == ["50x25_2.5_25.png"]
    for template, words in [
        ("{name}.png", "field 'name'; known are stem, ext, scale"),
        ("{stem.__class__}.png", "has the field"),
        ("{stem", "is not valid"),
        ("{width:x<y}", "is not valid"),
    ]:
        with pytest.raises(OptionError, match=words):
            targets("a.png", output=template)


def test_several_results_need_a_folder():
    files("a.png", "b.png", "file")
    for output in ("r.png", "file"):
        with pytest.raises(OutputError, match="several results need"):
            targets("a.png", "b.png", output=output)


def test_an_image_is_never_overwritten():
    files("a_x2.png", "a.png")
    with pytest.raises(OutputExistsError, match="in-place"):
        targets("a.png", "a_x2.png")
    Path("link.png").symlink_to("a.png")
    for output in ("a.png", "link.png"):
        with pytest.raises(OutputExistsError, match="in-place"):
            targets("a.png", output=output)
    with pytest.raises(OptionError, match="cannot be combined"):
        targets("a.png", output="b.png", in_place=True)
    with pytest.raises(OptionError, match="one scale"):
        targets("a.png", sizes=[OutputSize(2), OutputSize(3)], in_place=True)


def checked(*names, output=None, in_place=False, force=False, skip=False):
    tasks = output_tasks(image_sources(map(Path, names)), X2, output, in_place=in_place)
    todo, skipped = check_tasks(tasks, force=force, in_place=in_place, skip_existing=skip)
    return [str(t.target) for t in todo], [str(t.target) for t in skipped]


def test_what_exists():
    files("a.png", "b.png", "r/a_x2.png")
    with pytest.raises(OutputExistsError, match="--force"):
        checked("a.png", "b.png", output="r")
    assert checked("a.png", "b.png", output="r", skip=True) == (["r/b_x2.png"], ["r/a_x2.png"])
    assert checked("a.png", "b.png", output="r", force=True)[0] == ["r/a_x2.png", "r/b_x2.png"]
    assert checked("a.png", output="new/")[0] == ["new/a_x2.png"]
    with pytest.raises(OutputError, match="does not exist"):
        checked("a.png", output="new/r.png")


def test_a_read_only_image_is_replaced_by_force_only():
    files("a.png")
    Path("a.png").chmod(0o444)
    with pytest.raises(OutputError, match="read-only; use --force"):
        checked("a.png", in_place=True)
    assert checked("a.png", in_place=True, force=True)[0] == ["a.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count names otherwise")
def test_names_are_checked_before_the_work():
    longest = os.pathconf(".", "PC_NAME_MAX")
    files("z" * (longest - 4) + ".png")
    with pytest.raises(OutputError, match=r"258 bytes, .* takes 255; name the output with -o"):
        checked("z" * (longest - 4) + ".png")
    kanji = "\N{CJK UNIFIED IDEOGRAPH-6771}" * 80 + ".png"
    files(kanji)
    assert checked(kanji)[0] == [kanji.replace(".png", "_x2.png")]
