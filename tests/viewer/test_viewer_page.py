"""The page in a real browser: the pixels on the screen, every control, and nothing from outside."""

from __future__ import annotations

import base64
import io
import shutil
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from clit_deploy.viewer.pyramid import Pyramid
from tests.helpers import photo

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
NEAR = 2
"""Of 255."""
SECONDS = 60_000
"""In milliseconds."""
WIDE, HIGH = 640, 480
"""Of the window."""
MIDDLE = WIDE // 2, HIGH // 2


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    with sync_api.sync_playwright() as play:
        opened = play.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-background-networking", "--disable-component-update"],
        )
        yield opened
        opened.close()


class Page:
    """A page of a viewer, and everything that it did wrong."""

    def __init__(self, browser, url, **settings):
        settings.setdefault("viewport", {"width": WIDE, "height": HIGH})
        self.context = browser.new_context(accept_downloads=True, **settings)
        self.page = self.context.new_page()
        self.home, self.wrong, self.fetched = urlsplit(url).netloc, [], []
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self.fetched.append(request.url))
        self.page.goto(url)
        self.complete()

    def _heard(self, message):
        reads = "willReadFrequently" in message.text  # the tests read the canvas, the page does not
        if message.type in ("error", "warning") and not reads:
            self.wrong.append(message.text)

    def complete(self):
        self.page.wait_for_selector("body[data-view=complete]", timeout=SECONDS)

    def ask(self, code, *arguments):
        return self.page.evaluate(
            f"given => {{ const view = document.getElementById('viewer').view; {code} }}",
            list(arguments),
        )

    def go(self, zoom, x=None, y=None):
        """Show a place of the image in the middle, and wait for all of it."""
        self.ask(
            "view.zoomTo(given[0], true); if (given[1] !== null) view.panTo(given[1], given[2], "
            "true); view.snap();",
            zoom, x, y,
        )  # fmt: skip
        self.page.wait_for_timeout(100)
        self.complete()

    def rest(self):
        """Wait for the end of every animation."""
        for _ in range(200):
            self.page.wait_for_timeout(150)
            if not self.ask("return view.viewer.isAnimating()"):
                return
        raise AssertionError("the view never rests")

    def zoom(self):
        return float(self.ask("return view.zoom"))

    def canvas(self):
        """The pixels that OpenSeadragon has drawn, and the place of the image's corner in them."""
        content = self.ask(
            "const c = view.viewer.drawer.canvas; const d = c.getContext('2d').getImageData(0, 0, "
            "c.width, c.height); return [c.width, c.height, btoa(Array.from(d.data, "
            "v => String.fromCharCode(v)).join(''))]"
        )
        wide, high, data = content
        shown = np.frombuffer(base64.b64decode(data), np.uint8).reshape(high, wide, 4)
        left, top = self.ask("return view.placeOf(0, 0).map(v => v * view.ratio)")
        return shown[..., :3], (left, top)

    def close(self):
        """Nothing was wrong, and nothing came from elsewhere."""
        elsewhere = [
            url
            for url in self.fetched
            if not url.startswith(("blob:", "data:")) and urlsplit(url).netloc != self.home
        ]
        self.context.close()
        assert (self.wrong, elsewhere) == ([], [])


@pytest.fixture
def open_page(browser):
    pages = []

    def opened(server, place="", **settings):
        pages.append(Page(browser, server.url + place, **settings))
        return pages[-1]

    yield opened
    for page in pages:
        page.close()


def rendered(up, path, level_scale, cols, rows):
    """What a plan makes of output pixels of an image at a level."""
    scale = level_scale
    region = (
        cols[0] / scale,
        rows[0] / scale,
        (cols[1] - cols[0]) / scale,
        (rows[1] - rows[0]) / scale,
    )
    with up.encode(np.asarray(Image.open(path))) as encoded:
        size = rows[1] - rows[0], cols[1] - cols[0]
        return encoded.render(size=size, region=region, dtype=np.uint8).astype(int)


def compare_with_network(page, up, path, scale, left=0, right=WIDE):
    """Columns of the canvas that lie on the image equal what the network renders there."""
    shown, corner = page.canvas()
    x, y = (round(-place) for place in corner)
    assert abs(x + corner[0]) < 0.01
    assert abs(y + corner[1]) < 0.01
    height, width = (side * scale for side in np.asarray(Image.open(path)).shape[:2])
    cols = max(x + left, 0), min(x + right, width)
    rows = max(y, 0), min(y + shown.shape[0], height)
    expected = rendered(up, path, scale, cols, rows)
    got = shown[rows[0] - y : rows[1] - y, cols[0] - x : cols[1] - x].astype(int)
    assert got.size > 50_000
    assert np.abs(got - expected).max() <= NEAR


def test_the_screen_shows_what_the_network_renders(serve, open_page, viewer_ups, photographs):
    page = open_page(serve())
    assert page.ask("return view.window") == pytest.approx([0, 0, 420, 300])
    page.page.mouse.move(*MIDDLE)
    while page.zoom() < 4:
        page.page.mouse.wheel(0, -150)
        page.page.wait_for_timeout(150)
    page.complete()
    page.go(4)
    compare_with_network(page, viewer_ups[0], photographs[0], 4)
    while page.zoom() < 12:
        page.page.mouse.wheel(0, -150)
        page.page.wait_for_timeout(150)
    page.complete()
    page.go(12)
    assert page.page.input_value("#scale") == "12"
    compare_with_network(page, viewer_ups[0], photographs[0], 12)
    before = page.ask("return view.window")
    page.page.mouse.move(*MIDDLE)
    page.page.mouse.down()
    page.page.mouse.move(MIDDLE[0] - 150, MIDDLE[1] - 120, steps=5)
    page.page.mouse.up()
    page.rest()
    page.complete()
    after = page.ask("return view.window")
    assert after[0] - before[0] == pytest.approx(150 / 12, rel=0.3)
    page.go(12)
    compare_with_network(page, viewer_ups[0], photographs[0], 12)


def test_between_levels_the_nearest_one_is_reduced(serve, open_page):
    page = open_page(serve())
    page.go(10.3)
    urls = {url.split("/tiles/")[1].split("/")[2] for url in page.fetched if "/tiles/0/0/" in url}
    level = Pyramid((300, 420)).scales.index(12)
    assert str(level) in urls
    assert page.zoom() == pytest.approx(10.3, rel=0.001)


def test_the_slider_divides_two_plans(serve, open_page, viewer_ups, photographs):
    page = open_page(serve(photographs[:1]))
    page.go(4, 210, 150)
    page.page.select_option("#compare", "1")
    page.page.wait_for_timeout(100)
    page.complete()
    slider = page.page.locator("#split")
    assert slider.is_visible()
    compare_with_network(page, viewer_ups[0], photographs[0], 4, 0, WIDE // 2 - 4)
    compare_with_network(page, viewer_ups[1], photographs[0], 4, WIDE // 2 + 4)
    slider.focus()
    for _ in range(100):
        page.page.keyboard.press("ArrowLeft")
    page.page.wait_for_timeout(200)
    page.complete()
    compare_with_network(page, viewer_ups[1], photographs[0], 4, WIDE * 2 // 5 + 4)
    page.page.select_option("#compare", "bicubic")
    page.page.wait_for_timeout(100)
    page.complete()
    shown, corner = page.canvas()
    whole = Image.open(photographs[0]).resize((1680, 1200), Image.Resampling.BICUBIC)
    x, y = (round(-place) for place in corner)
    expected = np.asarray(whole)[y : y + 300, x + 270 : x + WIDE].astype(int)
    assert np.abs(shown[:300, 270:].astype(int) - expected).max() <= NEAR
    page.page.select_option("#compare", "none")
    page.page.wait_for_timeout(100)
    page.complete()
    assert not slider.is_visible()
    compare_with_network(page, viewer_ups[0], photographs[0], 4)


def test_attention_follows_the_pointer(serve, open_page):
    page = open_page(serve())
    page.go(12, 210, 150)
    page.page.click("#attention")
    page.page.wait_for_selector("#windows[data-stages='2']")
    assert page.page.locator("#head option").count() == 2 * 5

    def drawn():
        return page.page.evaluate(
            "() => { const c = document.getElementById('windows'); const d = c.getContext('2d')"
            ".getImageData(0, 0, c.width, c.height).data; const at = []; for (let k = 3; k < "
            "d.length; k += 4) if (d[k]) at.push((k >> 2) % c.width); return [Math.min(...at), "
            "Math.max(...at)] }"
        )

    low, high = drawn()
    assert 70 < high - low < 110  # seven pixels of the image at x12
    assert low < MIDDLE[0] < high
    with page.page.expect_response("**/attention/**"):
        page.page.mouse.move(MIDDLE[0] + 200, MIDDLE[1])
    page.page.wait_for_timeout(200)
    assert drawn()[0] > MIDDLE[0] + 100
    page.page.select_option("#head", "1/2")
    assert 15 < drawn()[1] - drawn()[0] < 30  # the second grid is four times as fine
    page.page.keyboard.press("Escape")
    page.page.click("#attention")
    assert page.page.get_attribute("#attention", "aria-pressed") == "false"


def test_without_attention_the_control_is_off_with_a_reason(serve, open_page, viewer_ups):
    page = open_page(serve(ups=viewer_ups[1:]))
    assert page.page.is_disabled("#attention")
    assert "no attention" in page.page.get_attribute("#attention", "aria-description")


def test_a_window_is_saved_and_its_command_is_shown(serve, open_page, viewer_ups, photographs):
    page = open_page(serve())
    page.go(12, 100, 100)
    page.page.click("#save")
    command = page.page.text_content("#command")
    region = [float(n) for n in command.split("--region ")[1].split()[0].split(",")]
    assert command.startswith(f"clit-deploy run '{photographs[0]}' -e ")
    assert "-s 12 " in command
    page.page.fill("#save-scale", "2,5")
    assert "pixels" in page.page.text_content("#save-size")
    with page.page.expect_download() as saved:
        page.page.click("#save-now")
    assert saved.value.suggested_filename == "a photo_x2.5.png"
    with open(saved.value.path(), "rb") as file:  # noqa: PTH123
        got = np.asarray(Image.open(io.BytesIO(file.read()))).astype(int)
    with viewer_ups[0].encode(np.asarray(Image.open(photographs[0]))) as encoded:
        expected = encoded.render(scale=2.5, region=tuple(region), dtype=np.uint8)
    assert np.abs(got - expected).max() <= NEAR
    page.page.fill("#save-scale", "0.5")
    assert page.page.is_disabled("#save-now")
    page.page.keyboard.press("Escape")


def test_the_zoom_stops_at_the_stated_limit(serve, open_page):
    page = open_page(serve())
    page.page.fill("#scale", "1000")
    page.page.press("#scale", "Enter")
    page.rest()
    assert page.zoom() == pytest.approx(32)
    assert page.page.text_content("#limit") == "the limit is ×32"
    page.page.mouse.move(*MIDDLE)
    for _ in range(5):
        page.page.mouse.wheel(0, -500)
    page.rest()
    assert page.zoom() == pytest.approx(32)
    page.complete()


def test_keys_move_and_zoom(serve, open_page):
    page = open_page(serve())
    press = page.page.keyboard.press

    def after(key):
        press(key)
        page.rest()
        return page.zoom(), page.ask("return view.window")

    fit = page.zoom()
    assert after("+")[0] > fit * 1.05
    after("1")
    page.rest()
    assert page.zoom() == pytest.approx(1)
    assert after("+")[0] > 1.05
    page.go(4, 210, 150)
    before = page.ask("return view.window")
    assert after("ArrowRight")[1][0] > before[0]
    assert after("0")[0] == pytest.approx(fit)
    assert after("r")[0] == pytest.approx(fit)  # OpenSeadragon would rotate
    assert page.ask("return view.viewer.viewport.getRotation()") == 0
    page.complete()


def test_a_second_image_and_a_place_in_the_address(serve, open_page):
    server = serve()
    page = open_page(server)
    assert page.page.locator("#images option").all_text_contents() == ["a photo.png", "clear.png"]
    page.page.select_option("#images", "1")
    page.page.wait_for_timeout(200)
    page.complete()
    assert page.ask("return view.image.name") == "clear.png"
    assert page.page.title() == "clear.png – clit-deploy view"
    other = open_page(server, "#image=0&x=50&y=60&z=8")  # a second browser
    left, top, wide, high = other.ask("return view.window")
    assert other.zoom() == pytest.approx(8)
    assert (left + wide / 2, top + high / 2) == pytest.approx((50, 60), abs=0.2)
    broken = open_page(server, "#image=77&x=a&y=&z=1e999")
    assert broken.ask("return view.image.name") == "a photo.png"


def test_an_image_can_be_sent(serve, open_page):
    page = open_page(serve(allow_upload=True, upload_bytes=50_000))
    file = io.BytesIO()
    Image.fromarray(photo(50, 60, 5)).save(file, "PNG")
    page.page.set_input_files(
        "#file", {"name": "new.png", "mimeType": "", "buffer": file.getvalue()}
    )
    page.page.wait_for_selector("#images option:checked:has-text('new.png')", state="attached")
    page.page.wait_for_timeout(300)
    page.complete()
    assert page.page.title().startswith("new.png")
    page.page.set_input_files("#file", {"name": "big.png", "mimeType": "", "buffer": bytes(60_000)})
    page.page.wait_for_selector("#message:not([hidden])")
    assert "larger than" in page.page.text_content("#message")


def test_a_viewer_that_is_gone_is_said(serve, open_page):
    server = serve()
    page = open_page(server)
    server.close()
    page.ask("view.zoomTo(6, true); view.snap();")
    page.page.wait_for_selector("#message:not([hidden])")
    assert "does not answer" in page.page.text_content("#message")
    page.wrong.clear()  # the browser logs refused connections


def test_controls_have_names_and_fit_a_phone(serve, open_page):
    page = open_page(
        serve(), viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True,
        device_scale_factor=2, color_scheme="dark",
    )  # fmt: skip
    found = page.page.evaluate(
        "() => [...document.querySelectorAll('button, input, select')].filter(e => "
        "e.checkVisibility()).map(e => { const b = e.getBoundingClientRect(); return [e.id, "
        "(e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || '').trim(), "
        "b.left >= 0 && b.right <= innerWidth && b.bottom <= innerHeight && b.height >= 30] })"
    )
    assert len(found) >= 8
    assert [one for one in found if not one[1] or not one[2]] == []
    assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    zoom = page.zoom()
    client = page.context.new_cdp_session(page.page)
    for spread in (40, 60, 90):  # two fingers
        kind = "touchStart" if spread == 40 else "touchMove"
        points = [{"x": 180 - spread, "y": 320, "id": 0}, {"x": 180 + spread, "y": 320, "id": 1}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.page.wait_for_timeout(60)
    client.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.rest()
    assert page.zoom() > zoom * 1.3
    page.complete()
    ground = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(23, 24, 26)"


STORM = """
const wait = ms => new Promise(done => setTimeout(done, ms));
const {width, height} = view.image;
let seed = 7;
const random = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
for (let k = 0; k < given[0]; k++) {
  if (random() < 0.5) view.zoomTo(Math.exp(random() * Math.log(32)));
  else view.panTo(random() * width, random() * height);
  await wait(given[1]);
}
"""


def test_a_storm_of_steps_ends_with_a_complete_view(serve, open_page, viewer_ups, photographs):
    server = serve()
    page = open_page(server)
    page.page.evaluate(
        f"async given => {{ const view = document.getElementById('viewer').view; {STORM} }}",
        [60, 60],
    )
    assert len(server.service.queue) <= 4  # what the page asks for at once, and one that stops
    page.go(12, 210, 150)
    compare_with_network(page, viewer_ups[0], photographs[0], 12)
    end = time.monotonic() + 10
    while len(server.service.queue):
        assert time.monotonic() < end
        page.page.wait_for_timeout(20)
    assert page.ask("return [...view.loader.jobs.values()].filter(s => s.controller).length") == 0
    assert page.ask("return view.loader.decoding.size") == 0
    assert page.ask("return view.loader.wanted.length") == 0
    before = time.process_time()
    page.page.wait_for_timeout(1000)
    assert time.process_time() - before < 0.3  # the server rests
