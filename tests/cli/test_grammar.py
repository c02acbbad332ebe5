"""The grammar of the command line, for every command; `clit_deploy.cli.grammar` states it."""

from __future__ import annotations

import re
import shlex

import pytest
import typer

from clit_deploy.cli import app
from clit_deploy.cli.exit_codes import EXIT_CODES, ExitCode
from clit_deploy.cli.grammar import MAKE, MEASURE, USE

COMMANDS = typer.main.get_command(app).commands
SHORT = {
    "-e": "--engine",
    "-s": "--scale",
    "-o": "--output",
    "-q": "--quiet",
}
RUNNING = {"--runtime", "--threads", "--max-memory", "--rebuild", "--device"}
NEVER_REBUILDS = {"profile"}
"""It measures what is there, so it has no --rebuild."""
BUILDERS = {"build", "export"}
"""Their --runtime is the library to build for."""
TRAINS_ON = ("--device", "train")
"""It names a device of torch, not an adapter of WebGPU."""
SHARED = RUNNING | {"--engine", "--scale", "--size", "--images", "--max-drop"}
SHARED |= {"--json", "--force", "--quiet", "--debug"}
FLAGS = {"--json", "--force", "--quiet", "--debug"}
RETIRED = {"--data", "--scales", "--calibration", "--csv", "--html"}
PLAIN = re.compile(
    r"\b(told|tells?|wish(es)?|kinship|appetite|is no|are no|makes no sense|of the deviation|"
    r"processors?|pictures?|proof|proved?|yardstick|colours?|licence)\b",
    re.IGNORECASE,
)


def options(name):
    """The options of a command by their first long name."""
    found = {}
    for option in COMMANDS[name].params:
        if option.param_type_name == "option":
            found[next(opt for opt in option.opts if opt.startswith("--"))] = option
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_names_of_options(name):
    found = options(name)
    assert {"--quiet", "--debug"} <= set(found)
    assert not RETIRED & set(found)
    for long, option in found.items():
        shorts = [opt for opt in option.opts if not opt.startswith("--")]
        assert all(SHORT[short] in option.opts for short in shorts), (long, shorts)
        if long in SHORT.values():
            assert shorts, f"{long} has a short form everywhere"
        if long in FLAGS:
            assert option.is_flag, long
    if engine := found.get("--engine"):
        assert set(engine.opts) == {"--engine", "--plan", "-e"}
    for long in {"--scale", "--images"} & set(found):
        assert found[long].multiple, f"{long} can be repeated"


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_running_go_together(name):
    found = RUNNING & set(options(name))
    if name == "train":  # runs no plan, but takes threads and a device of its own as well
        assert found == {"--threads", "--device"}
    elif name not in BUILDERS:
        assert found in (set(), RUNNING - ({"--rebuild"} if name in NEVER_REBUILDS else set()))
        assert bool(found) <= ("--engine" in options(name))


def test_a_shared_option_has_one_help_text():
    texts: dict[str, set[str]] = {}
    for name in COMMANDS:
        for long, option in options(name).items():
            own = (long == "--runtime" and name in BUILDERS) or (long, name) == TRAINS_ON
            if long in SHARED and not own:
                texts.setdefault(long, set()).add(option.help)
    assert set(texts) == SHARED
    assert {long: found for long, found in texts.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_panel_an_example_and_plain_words(name):
    command = COMMANDS[name]
    assert command.rich_help_panel in (USE, MAKE, MEASURE)
    head, _, example = command.epilog.partition("Example: clit-deploy ")
    assert (head, shlex.split(example)[0]) == ("", name)
    command.make_context(name, shlex.split(example)[1:])  # it can be parsed
    texts = [command.help, *(one.help for one in command.params)]
    assert all(text and text.rstrip().endswith((".", ")")) for text in texts), texts
    for text in texts:
        assert not PLAIN.search(text), text


@pytest.mark.parametrize(
    "line",
    [
        "export ckpt.pth",
        "run --engine clit.plan img.png --scale 12",
        "run --plan clit.plan img.png -s 2,3 -s 4.5",
        "info PLAN.plan --json",
        "verify PLAN.plan --image img.png",
        "calibrate model.plan --images photos -o int8.plan",
        "build model.plan --runtime tensorrt --compute-capability 86",
        "compare -e a.plan -e b.plan --images Set5 -s 2,4,12 --figure d.png",
    ],
)
def test_lines_that_people_type_are_parsed(line):
    name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, words)


@pytest.mark.parametrize("name", COMMANDS)
def test_h_is_help(name, capsys):
    for line in ([name, "-h"], [name, "--help"]):
        assert app(line, prog_name="clit-deploy", standalone_mode=False) == 0
        assert f"clit-deploy {name}" in capsys.readouterr().out


def test_exit_codes_are_named_in_the_help():
    for code in ExitCode:
        assert re.search(rf"\b{int(code)}\b", EXIT_CODES), code
    assert "130" in EXIT_CODES
