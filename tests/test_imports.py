"""The parts that run on a Jetson load neither torch nor onnx."""

import subprocess
import sys

import pytest
from PIL import Image

from clit_deploy.system.extras import install_command
from tests.helpers import photo

CHECK = """
import runpy, sys
sys.argv = ["clit-deploy", *{arguments!r}]
try:
    {work}
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = sorted({{"torch", "onnx", "onnx_graphsurgeon", "onnxscript", "ray"}} & set(sys.modules))
assert not heavy, heavy
"""


def assert_light(work, arguments=()):
    code = CHECK.format(work=work, arguments=[str(a) for a in arguments])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_is_light():
    assert_light("import clit_deploy; clit_deploy.load; clit_deploy.Upscaler; clit_deploy.view")


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["run"],
        ["info"],
        ["build"],
        ["doctor"],
        ["models"],
        ["view"],
        ["ray"],
        ["verify"],
        ["export"],
        ["warp"],
        ["attention"],
        ["train"],
        ["evaluate"],
        ["profile"],
        ["profile-diff"],
        ["calibrate"],
        ["compare"],
        ["triton"],
    ],
)
def test_help_is_light(command):
    assert_light("import clit_deploy.cli as c; c.main()", [*command, "--help"])


def test_running_is_light(plans, tmp_path):
    image = tmp_path / "i.png"
    Image.fromarray(photo(9, 9)).save(image)
    main = "import clit_deploy.cli as c; c.main()"
    assert_light(main, ["run", "-e", plans["clit"], image, "--scale", "5", "--json"])
    assert_light(main, ["info", plans["clit"]])
    assert_light(main, ["verify", plans["liif"]])
    (tmp_path / "large").mkdir()
    Image.fromarray(photo(60, 60)).save(tmp_path / "large" / "i.png")
    pair = [plans["liif"], plans["clit-r1"]]
    assert_light(main, ["compare", *pair, "--images", tmp_path / "large", "--scale", "1.5"])
    out = ["-o", tmp_path / "w.png", "--force"]
    assert_light(main, ["warp", image, "-e", plans["clit-learn"], "--matrix", "2,0,0,0,2,0",
                        "--size", "18x18", *out])  # fmt: skip
    told = ["--iterations", 1, "--json-file", tmp_path / "p.json"]
    told += ["--html-file", tmp_path / "p.html"]
    assert_light(main, ["profile", "-e", plans["clit"], "--image", image, *told])
    pair = [tmp_path / "p.json", tmp_path / "p.json"]
    assert_light(main, ["profile-diff", *pair, "--floating"])
    assert_light(main, ["attention", image, "-e", plans["clit"], "--at", "3,4", "--scale", 2, *out])
    assert (tmp_path / "i_x5.png").is_file()


def test_export_without_torch_says_how_to_get_it(plans):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import clit_deploy\n"
        "try: clit_deploy.export_checkpoint('x.pth')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"install it with {install_command('export')}." in done.stdout


def test_calibrating_without_onnx_says_how_to_get_it():
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "try: import clit_deploy.calibration.int8\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"install it with {install_command('calibrate')}." in done.stdout


def test_calibrating_needs_no_torch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import clit_deploy.calibration.int8\n"
        "assert not {'onnxscript', 'onnx_ir'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_torch_and_onnx_stay_where_they_belong():
    """Outside the folders that need them, no module imports them at any depth."""
    import ast
    from pathlib import Path

    import clit_deploy

    root = Path(clit_deploy.__file__).parent
    heavy = {"torch", "onnx", "onnxscript", "onnx_graphsurgeon", "onnx_ir", "matplotlib"}
    for path in root.rglob("*.py"):
        relative = path.relative_to(root)
        if relative.parts[0] in ("export", "models", "training", "calibration", "passes"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [n.name for n in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not heavy & {name.split(".")[0] for name in names}, relative


def test_the_viewer_without_its_libraries_says_how_to_get_them(tmp_path):
    image = tmp_path / "i.png"
    Image.fromarray(photo(9, 9)).save(image)
    code = (
        "import sys; sys.modules['uvicorn'] = None\n"
        "import clit_deploy\n"
        f"try: clit_deploy.view({str(image)!r})\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"install it with {install_command('view')}." in done.stdout
