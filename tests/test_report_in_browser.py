"""The report as a browser shows it: headless Chromium, on a desk, on a phone, and on paper.

Where there is no browser, or no Playwright to drive it, these tests are left out; with
TINYNET_REQUIRE_BROWSER=1, as .ci/run sets it, they fail instead.
"""

import os
import shutil

import numpy as np
import pytest

import tinynet
from tinynet import Input, Sequential, layers, random
from tinynet.datasets.fashion_mnist import class_names

REQUIRED = os.environ.get("TINYNET_REQUIRE_BROWSER") == "1"
if REQUIRED:
    import playwright.sync_api as playwright
else:
    playwright = pytest.importorskip("playwright.sync_api")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

DESK, PHONE = (1280, 900), (390, 844)
REPORTS = ("cnn", "mlp", "long", "evil")

# Whatever is beyond the right edge of the window, and not in a frame that scrolls.
CUT_OFF = """() => [...document.querySelectorAll("body *")]
    .filter(e => !e.closest(".frame") && e.getClientRects().length
                 && e.getBoundingClientRect().right > innerWidth + 0.5)
    .map(e => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)"""

# Texts smaller than 10 pixels.
SMALL = """() => [...document.querySelectorAll("body *")]
    .filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())
                 && parseFloat(getComputedStyle(e).fontSize) < 10)
    .map(e => `${e.tagName} ${e.textContent.slice(0, 40)}`)"""

# What sticks out of the box that it is in, and may lie over something else.
STICKING_OUT = """() => [...document.querySelectorAll("body *")]
    .filter(e => { const style = getComputedStyle(e);
                   return style.overflow == "visible" && style.display != "inline"
                          && style.display != "none" && e.clientHeight; })
    .filter(e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1)
    .map(e => `${e.tagName} ${e.textContent.slice(0, 40)}`)"""

# How much lighter the lighter of text and ground is, where that is less than 4.5 (WCAG 2, AA).
FAINT = """() => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const over = ([r, g, b, a = 1], ground) =>
        [r, g, b].map((c, i) => a * c + (1 - a) * ground[i]);
    const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) =>
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b) + 0.05;
    const ground = e => e ? over(parse(getComputedStyle(e).backgroundColor),
                                 ground(e.parentElement)) : [255, 255, 255];
    const faint = [];
    for (const e of document.querySelectorAll("body *")) {
        if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim())) continue;
        if (e.matches(".none")) continue;  // the zeros of the confusion matrix
        const pair = [light(over(parse(getComputedStyle(e).color), ground(e))), light(ground(e))];
        const contrast = Math.max(...pair) / Math.min(...pair);
        if (contrast < 4.5) faint.push(`${e.tagName} ${e.textContent.slice(0, 40)}: ${contrast}`);
    }
    return faint;
}"""


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        if REQUIRED:
            pytest.fail(f"there is none of {', '.join(BROWSERS)}; install one")
        pytest.skip("no Chromium to open the report in")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def trained(x, y, classes, *parts, epochs=1):
    random.set_random_seed(1)
    last = layers.Dense(classes, activation="softmax")
    model = Sequential([Input(x.shape[1:]), layers.Rescaling(1 / 255), *parts, last])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, model.fit(x, y, epochs=epochs, validation_split=0.2, verbose=0)


@pytest.fixture(scope="module")
def reports(sample, tmp_path_factory):
    """Reports that differ in what could spoil the page, by name."""
    folder = tmp_path_factory.mktemp("reports")
    (x, y), (x_test, y_test) = ((x[:800], y[:800]) for x, y in sample)
    cnn = trained(
        x[..., None], y, 10,
        layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.BatchNormalization(),
        layers.Flatten(), layers.Dropout(0.2), epochs=3,
    )  # fmt: skip
    mlp = trained(x, y, 10, layers.Flatten(), layers.Dense(32, activation="relu"))
    many = (y_test.astype(int) * 10 + np.arange(len(y_test)) % 10).astype(int)
    long_name = layers.Dense(8, name="a_layer_" + "with_a_name_of_many_words_" * 4)
    hundred = trained(x, y.astype(int) * 10, 100, layers.Flatten(), long_name)
    names = [f"class {i} with a name of {'many ' * 8}words" for i in range(99)] + ["x" * 200]
    evil = ["</style></table><script>console.log('evil')</script>" * (i + 1) for i in range(10)]
    made = {
        "cnn": (*cnn, x_test[..., None], y_test, class_names),
        "mlp": (mlp[0], None, x_test, y_test, None),
        "long": (*hundred, x_test, many, names),
        "evil": (*mlp, x_test, y_test, evil),
    }
    assert set(made) == set(REPORTS)
    for name, arguments in made.items():
        tinynet.report(*arguments, folder / f"{name}.html", training_seconds=12.3)
    return folder


class Opened:
    """A page, and what the browser complained about while it was loaded."""

    def __init__(self, page, address):
        self.page = page
        self.complaints, self.requests = [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url[:80]))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(address)
        self.address = address

    def asked(self, question):
        return self.page.evaluate(question)


@pytest.fixture
def opened(browser, reports):
    """Open a report in a window of this size; it is closed at the end."""
    contexts = []

    def open_report(name, size=DESK, scheme="light"):
        width, height = size
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
            )
        )
        return Opened(contexts[-1].new_page(), (reports / f"{name}.html").as_uri())

    yield open_report
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE, (320, 568)], ids=["desk", "phone", "small phone"])
@pytest.mark.parametrize("name", REPORTS)
class TestOnScreens:
    def test_it_can_be_read(self, opened, name, size, scheme):
        one = opened(name, size, scheme)
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith("data:")] == [one.address]
        root = "document.documentElement"
        assert one.asked(f"{root}.scrollWidth") <= one.asked(f"{root}.clientWidth") == size[0]
        assert one.asked(CUT_OFF) == []
        assert one.asked(STICKING_OUT) == []
        assert one.asked(SMALL) == []
        assert one.asked(FAINT) == []

    def test_its_pictures_are_there(self, opened, name, size, scheme):
        pictures = opened(name, size, scheme).asked(
            "[...document.images].map(i => ({natural: i.naturalWidth, complete: i.complete,"
            " shown: i.getBoundingClientRect().width, meant: i.width, kind: i.className,"
            " full: Number(i.getAttribute('width'))}))"
        )
        assert len(pictures) >= 12
        for picture in pictures:
            assert picture["complete"]
            assert picture["natural"] > 0
            if picture["kind"] == "sample":
                assert picture["shown"] >= 80
            else:  # as large as it was drawn, or not so much smaller that its letters are lost
                assert 0.74 * picture["full"] <= picture["shown"] <= picture["full"]


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_the_reader_s_colours(opened, scheme, dark):
    page = opened("cnn", scheme=scheme)
    ground, text = (
        sum(map(int, page.asked(f"getComputedStyle(document.body).{what}")[4:-1].split(",")))
        for what in ("backgroundColor", "color")
    )
    assert (ground < text) == dark
    assert abs(ground - text) > 450


def test_what_is_too_wide_scrolls_in_its_frame_by_the_keyboard(opened):
    one = opened("cnn", PHONE)
    table = one.page.locator("#model .frame").first
    assert table.evaluate("e => e.scrollWidth > e.clientWidth")
    table.focus()
    scrolled = False
    for _ in range(20):
        one.page.keyboard.press("ArrowRight")
        one.page.wait_for_timeout(50)
        scrolled = scrolled or table.evaluate("e => e.scrollLeft") > 20
    assert scrolled
    # The names of the rows stay where they are.
    cell = one.page.locator("#model tbody th").first.bounding_box()
    assert cell["x"] == pytest.approx(table.bounding_box()["x"], abs=1)


def test_links_lead_to_their_sections(opened):
    one = opened("cnn", PHONE)
    for link in one.page.locator("nav a").all():
        link.click()
        anchor = link.get_attribute("href")
        assert one.page.locator(anchor).evaluate("e => e.getBoundingClientRect().top < innerHeight")
    assert one.complaints == []


@pytest.mark.parametrize("name", REPORTS)
class TestOnPaper:
    def test_light_without_links_and_frames(self, opened, name):
        one = opened(name, size=(680, 960), scheme="dark")  # A4 without its margins
        one.page.emulate_media(media="print", color_scheme="dark")
        assert one.asked("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert not one.page.locator("nav").is_visible()
        assert one.asked("[...document.querySelectorAll('.frame')].filter(f => "
                         "getComputedStyle(f).overflowX != 'visible').length") == 0  # fmt: skip
        wide = "[...document.images].filter(i => i.getBoundingClientRect().right > innerWidth)"
        assert one.asked(f"{wide}.length") == 0

    def test_as_a_file(self, opened, name):
        assert opened(name, scheme="dark").page.pdf(format="A4").startswith(b"%PDF")
