"""Open every page of the built documentation in Chromium, wide and narrow, light and dark, and say what is wrong.

Pages of source code, which Sphinx writes, are left out.

    sphinx-build -W -j auto docs docs/_build/html
    python tools/look_at_site.py docs/_build/html
    python tools/look_at_site.py docs/_build/html --only 'learn/*' --shots screenshots  # and take pictures of them

axe-core checks the rules for readers with screen readers or keyboards, and sphinx-build the links. What they do not
check is checked here: each page loads without an error or a warning on the console, and asks no other host for
anything; pictures are described, formulas are drawn, text contrasts with its background, links in it are underlined,
frames do not scroll, nothing is wider than the window, nor is code on a desktop wider than its box; searches show
the right page first. Exits with status 1 if a page fails. Needs Chromium.
"""

import argparse
import functools
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import CHROMIUM, OPTIONS

WIDTHS = {1280: 900, 390: 844}  # of a desktop and of a phone, and their heights
# Each page is seen at both widths and in both colours; what the theme writes is the same on all, and seen in all pairs
WAYS = [[(1280, "light"), (390, "dark")], [(390, "light"), (1280, "dark")]]
SHOT_HEIGHT = 8000  # pixels of a page that a picture shows at most: Chromium draws no more than 16,384

# Chromium can reach no other host than this server, whatever a page asks for
ALONE = ("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")

AXE = {
    "resultTypes": ["violations"],
    "iframes": False,  # what a frame shows is a page of its own
    "rules": {
        rule: {"enabled": False}
        for rule in (
            "color-contrast",  # takes three to ten times as long as all the others; LOOK has another way
            "link-in-text-block",  # takes twice as long as all the others; LOOK asks for an underline
            "scrollable-region-focusable",  # browsers let the keyboard reach a box that scrolls
            "empty-table-header",  # the corner of a table; and formulas, in which axe-core sees no text
        )
    },
}

# Pictures and frames load only near the part that is seen, unless they are told to; colours are read after transitions
LOAD = """async () => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { transition: none !important }");
    document.adoptedStyleSheets.push(sheet);
    document.querySelectorAll("[loading=lazy]").forEach((element) => (element.loading = "eager"));
    await Promise.all([...document.images].map((image) => image.decode().catch(() => null)));
    const frames = () => [...document.querySelectorAll("iframe")];
    const isLoaded = ({ contentDocument: page }) => page?.URL !== "about:blank" && page?.readyState === "complete";
    for (let k = 0; k < 100 && !frames().every(isLoaded); k++) await new Promise((done) => setTimeout(done, 50));
}"""

# Takes away most of what axe-core would walk over: the parts of the page that the theme writes; and, as there are no
# rules for it, the inside of drawings, of which screen readers tell the description alone, the parts of formulas, and
# the colours of code
THIN = """() => {
    document.querySelectorAll(".sidebar-drawer, .content-icon-container").forEach((part) => part.remove());
    document.querySelectorAll("svg[role=img]").forEach((drawing) => drawing.replaceChildren());
    document.querySelectorAll("math").forEach((formula) => formula.replaceChildren(formula.textContent));
    for (const code of document.querySelectorAll("pre, code, dt.sig > *")) {
        const isText = [...code.querySelectorAll("*")].every(({ localName, attributes }) =>
            (localName === "span" || localName === "em") && [...attributes].every(({ name }) => name === "class"));
        if (isText) code.replaceChildren(code.textContent);
    }
}"""

# Returns what is wrong with a page as it is shown now
LOOK = r"""async () => {
    const failures = [];
    const describe = (element) => {
        const names = ["id", "class", "src"].filter((name) => element.getAttribute(name));
        const tag = [element.localName, ...names.map((name) => `${name}="${element.getAttribute(name).slice(0, 60)}"`)];
        const text = element.textContent.trim().replace(/\s+/g, " ");
        return `<${tag.join(" ")}>` + (text ? ` "${text.length > 40 ? text.slice(0, 40) + "…" : text}"` : "");
    };
    const fail = (text, element) => failures.push(`${text}: ${describe(element)}`);
    // A drawing follows the width of its window, and the height of a frame that of its page, some frames later; on a
    // busy machine a message between two pages may need longer than these
    const settle = async (isSettled) => {
        const end = performance.now() + 2000;
        for (let k = 0; (k < 20 || performance.now() < end) && !isSettled(); k++) {
            await new Promise(requestAnimationFrame);
        }
    };

    for (const picture of document.querySelectorAll("img, svg, canvas")) {
        if (picture.closest("[aria-hidden=true], [role=presentation], a, button, label, summary, svg svg")) continue;
        const name = picture.alt?.trim() || picture.ariaLabel || picture.getAttribute("aria-labelledby");
        if (!name && picture.getBoundingClientRect().width >= 32) fail("the picture is not described", picture);
    }

    const remember = (compute) => {  // of each argument, what is computed for it
        const values = new Map();
        return (key) => {
            if (!values.has(key)) values.set(key, compute(key));
            return values.get(key);
        };
    };

    // The contrast that WCAG 2 defines, of texts outside of drawings
    const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const read = remember((css) => {
        brush.clearRect(0, 0, 1, 1);
        brush.fillStyle = css;
        brush.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    });
    const over = (color, below) => below.map((value, i) => color[3] * color[i] + (1 - color[3]) * value);
    const findBackdrop = remember((element) => {  // null where it is a picture
        if (!element) return [255, 255, 255];
        const style = getComputedStyle(element);
        const color = read(style.backgroundColor);
        const below = color[3] === 1 ? [0, 0, 0] : findBackdrop(element.parentElement);
        return style.backgroundImage === "none" && below ? over(color, below) : null;
    });
    const findOpacity = remember((element) => {
        return element ? +getComputedStyle(element).opacity * findOpacity(element.parentElement) : 1;
    });
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const luminance = (color) => {
        const [red, green, blue] = color.map((value) => linear(value / 255));
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    };
    const pairs = new Set();
    const checkContrast = (element) => {
        if (element instanceof SVGElement) return;
        const { width, height } = element.getBoundingClientRect();
        const backdrop = width <= 1 || height <= 1 ? null : findBackdrop(element);
        if (!backdrop || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return;
        const [red, green, blue, alpha] = read(getComputedStyle(element).color);
        const color = [red, green, blue, alpha * findOpacity(element)];
        const [low, high] = [luminance(over(color, backdrop)), luminance(backdrop)].sort((a, b) => a - b);
        const pair = `rgb(${over(color, backdrop).map(Math.round)}) on rgb(${backdrop.map(Math.round)})`;
        if (high / low < 4.5 && pairs.size !== pairs.add(pair).size) {
            fail(`the contrast is ${(high / low).toFixed(1)} and must be 4.5, ${pair}`, element);
        }
    };

    const checked = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const element = node.parentElement;
        if (!node.data.trim() || element.closest("script, style, noscript, template")) continue;
        if (!checked.has(element) && !element.closest(":disabled")) checkContrast(element);
        checked.add(element);
        if (element.closest("pre, code, kbd, samp, textarea")) continue;
        const raw = node.data.match(/\\[a-z]+|\\[()[\]]|\$\$|\$[^\s$][^$]*\$/i);
        if (raw) fail(`the text shows TeX, "${raw[0]}"`, element);
    }

    // Readers who see no colours know a link in a text by its line
    const isUnderlined = (element, block) =>
        getComputedStyle(element).textDecorationLine.includes("underline") ||
        (element !== block && isUnderlined(element.parentElement, block));
    for (const link of document.querySelectorAll("p a[href]")) {
        const block = link.closest("p");
        const isAlone = block.textContent.trim() === link.textContent.trim();
        if (!isAlone && link.checkVisibility() && !isUnderlined(link, block)) fail("the link is not underlined", link);
    }

    const width = document.documentElement.clientWidth;
    const isWide = (element) => {
        const box = element.ownerSVGElement ? { width: 0 } : element.getBoundingClientRect();
        return box.right > width + 1 && box.width > 1 && element.checkVisibility();
    };
    // In a box that scrolls, or that waits beside the page until it is called
    const isApart = (element) => {
        if (!element || element === document.body) return false;
        const { overflowX, position } = getComputedStyle(element);
        return /auto|scroll/.test(overflowX) || position === "fixed" || isApart(element.parentElement);
    };
    const findWide = () =>
        [...document.body.querySelectorAll("*")]
            .filter((element) => isWide(element) && !isApart(element))
            .filter((element) => ![...element.children].some(isWide));
    await settle(() => !findWide().length);
    for (const element of findWide().slice(0, 3)) {
        fail(`this ends at ${Math.round(element.getBoundingClientRect().right)} px, outside the window`, element);
    }
    for (const code of window.innerWidth < 1000 ? [] : document.querySelectorAll("pre")) {
        const [needs, has] = [code.scrollWidth, code.clientWidth];
        if (needs > has + 1) fail(`the code is ${needs} px wide, and its box ${has} px`, code);
    }

    // A frame that scrolls by itself catches the swipes that are meant for the page around it
    for (const frame of document.querySelectorAll("iframe")) {
        const root = frame.contentDocument?.scrollingElement;
        const scrolls = () => root && (root.scrollHeight > root.clientHeight || root.scrollWidth > root.clientWidth);
        await settle(() => !scrolls());
        const size = `${root?.scrollWidth} × ${root?.scrollHeight} px`;
        if (scrolls()) fail(`the frame is smaller than its page, of ${size}`, frame);
    }
    return failures;
}"""

# What readers search for -> the page that the search of the site must show first
SEARCHES = {
    "images, one-hot": "use/data",
    "2-D, PDE, PINN": "use/differential-equations",
    "uncertainty, outlier": "use/error-bars",
    "feature importance, partial dependence, SHAP": "use/explain",
    "ONNX": "use/export",
    "custom loss": "use/extend",
    "class imbalance, ROC, predict probability": "use/classification",
    "GPU": "use/backends",
    "confusion matrix, learning curve, plot": "use/inspect",
    "large data": "use/outgrow",
    "multi-output": "use/regression",
    "how to save a model, resume, save model": "use/save",
    "cross-validation, hyperparameter": "use/search",
    "reproducible, seed": "use/seeds",
    "deploy, latency": "use/serve",
    "normalize": "use/standardize",
    "categorical, decimal comma, missing values": "use/table-columns",
    "pandas": "use/table-models",
    "CSV, Excel": "use/tables",
    "batch norm, batch size, convolution, dropout": "use/train",
    "L2, learning rate, lr, NaN, regularisation, regularization, weight decay": "use/train",
    "early stopping, test set, time series": "use/validate",
    "momentum": "learn/questions",
    "overfitting": "notebooks/figures_of_the_book",
    "vanishing gradient": "notebooks/exercises_slow_learning",
    "initialization, loss, softmax": "reference/functions",
    "speed": "understand/performance",
    "Windows": "understand/reliability",
}
SEARCH = """(searches) => Object.entries(searches).flatMap(([queries, page]) =>
    queries.split(", ").flatMap((query) => {
        const first = Search._performSearch(...Search._parseQuery(query)).at(-1)?.[0];  // they are shown from the end
        return first === page ? [] : [`a search for ${query} shows ${first} first, not ${page}`];
    }))"""


class Files(SimpleHTTPRequestHandler):
    """Serves a folder, and logs nothing: failed requests are seen in the browser."""

    protocol_version = "HTTP/1.1"  # keeps connections open

    def log_message(self, *args: Any) -> None:
        """Do nothing."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port: pages from file:// have no status codes, and may not load all that a site may."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def open_tab(browser: Browser, site: str, note: Any) -> Page:
    """Open a tab that notes errors and warnings on the console, and requests that fail or leave this machine."""
    page = browser.new_page(reduced_motion="reduce")

    def watch_console(line: Any) -> None:
        if line.type in ("error", "warning"):
            note(f"the console says {line.text}")

    def watch_request(url: str) -> None:
        if not url.startswith((site, "data:", "blob:", "about:")):
            note(f"the page asks another host, for {url}")

    def watch_answer(answer: Any) -> None:
        if answer.status not in (200, 304):
            note(f"{answer.url} has status {answer.status}")

    page.on("console", watch_console)
    page.on("pageerror", lambda error: note(f"a script fails: {error}"))
    page.on("request", lambda request: watch_request(request.url))
    page.on("websocket", lambda socket: watch_request(socket.url))
    page.on("response", watch_answer)
    return page


def run_axe(page: Page) -> list[str]:
    """Check the rules of axe-core, and return what is wrong."""
    run = """(options) => {
        // The theme puts all that a page says into its <main>: to check this takes a third of the time
        if (document.querySelector("#furo-main-content")) options.rules.region = { enabled: false };
        return axe.run(document, options).then((results) => results.violations);
    }"""
    rules = page.evaluate(run, AXE)
    return [f"{rule['help']} ({rule['id']}): {node['html'][:120]}" for rule in rules for node in rule["nodes"]]


def look_at_pages(site: str, shots: Path | None, names: Iterable[str]) -> dict[str, list[str]]:
    """Look at some of the pages, in a browser that this starts and ends, and return what is wrong with each."""
    looks: dict[str, list[str]] = {}
    seen: list[str] = []
    ways = itertools.cycle([[*WAYS[0], *WAYS[1]]] if shots else WAYS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *ALONE])
        page = open_tab(browser, site, lambda text: seen.append(text.replace(site, "")))
        page.add_init_script(AXE_SCRIPT)  # of 570 kB, which takes a tenth of a second longer to hand over to each page
        for name, way in zip(names, ways):
            set_look(page, *way[0])
            seen.clear()
            page.goto(site + name, wait_until="load")
            page.evaluate(LOAD)
            for width, scheme in way:
                set_look(page, width, scheme)
                seen.extend(page.evaluate(LOOK))
                if shots:
                    take_picture(page, shots / f"{name.removesuffix('.html').replace('/', '-')}-{width}-{scheme}.png")
            if name == "search.html":
                seen.extend(page.evaluate(SEARCH, SEARCHES))
            page.evaluate(THIN)
            seen.extend(run_axe(page))
            looks[name] = list(dict.fromkeys(seen))
        browser.close()
    return looks


def set_look(page: Page, width: int, scheme: str) -> None:
    """Give the page a width, and the system a colour scheme."""
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]


def take_picture(page: Page, path: Path) -> None:
    """Save a picture of the page."""
    assert page.viewport_size is not None
    height = min(page.evaluate("document.documentElement.scrollHeight"), SHOT_HEIGHT)
    clip = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": height}
    page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]


def look_at_site(folder: Path, only: str = "*", shots: Path | None = None) -> dict[str, list[str]]:
    """Look at all pages, or those that a pattern names, and return what is wrong with each."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    names = [name for name in names if fnmatch(name, only) and not name.startswith("_modules/")]
    if not names:
        raise ValueError(f"there is no page {only} in {folder}")
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    browsers = min(os.cpu_count() or 1, 2, 1 + len(names) // 10)
    with serve(folder) as site, ThreadPoolExecutor(browsers) as threads:
        look = functools.partial(look_at_pages, site, shots)
        parts = threads.map(look, [names[i::browsers] for i in range(browsers)])
        return {name: failures for part in parts for name, failures in part.items()}


def main() -> None:
    """Look at the site, and print a line for each failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the site that sphinx-build has built")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="the pages to look at, such as 'learn/*'")
    parser.add_argument("--shots", type=Path, metavar="FOLDER", help="where to save four pictures of each page")
    options = parser.parse_args()
    began = time.perf_counter()
    if not CHROMIUM:
        sys.exit("needs Chromium: apt install chromium")
    try:
        looks = look_at_site(options.folder, options.only, options.shots)
    except ValueError as error:
        sys.exit(str(error))
    failures = [f"{name}: {failure}" for name, failures in sorted(looks.items()) for failure in failures]
    print(*failures, sep="\n", file=sys.stderr)
    print(f"{len(looks)} pages, {len(failures)} failures, in {time.perf_counter() - began:.0f} s")
    sys.exit(len(failures) > 0)


if __name__ == "__main__":
    main()
