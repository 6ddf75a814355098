"""Open every page of the built documentation in Chromium, wide and narrow, light and dark, and say what is wrong.

    sphinx-build -W --keep-going -b html docs docs/_build/html
    python tools/look_at_site.py docs/_build/html
    python tools/look_at_site.py docs/_build/html --only 'learn/*' --shots screenshots  # and take pictures of them

Each page must load without an error or a warning on the console, and ask no other host for anything. Links must lead to
pages and places that exist; those to other sites are listed and not followed. Pictures must be shown and described,
formulas must be drawn, frames must not scroll, text must contrast with its background, and nothing may be wider than
the window, nor code on a desktop wider than its box. axe-core checks the rules for readers with screen readers or
keyboards. Exits with status 1 if a page fails. Needs Chromium, and a folder that holds no pages of an older build.
"""

import argparse
import functools
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import CHROMIUM, OPTIONS  # noqa: E402

SCRIPT = Path(__file__).with_suffix(".js").read_text()
WIDTHS = {1280: 900, 390: 844}  # of a desktop and of a phone, and their heights
SCHEMES = ("light", "dark")
SHOT_HEIGHT = 8000  # pixels of a page that a picture shows at most: Chromium draws no more than 16,384

# Chromium can reach no other host than this server, whatever a page asks for
ALONE = ("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")

AXE = {
    "resultTypes": ["violations"],
    "rules": {
        rule: {"enabled": False}
        for rule in (
            "color-contrast",  # look_at_site.js computes it in much less time, in the dark too
            "heading-order",  # look_at_site.js checks it with the other headings
            "page-has-heading-one",
            "scrollable-region-focusable",  # browsers let the keyboard reach a box that scrolls
            "empty-table-header",  # the corner of a table; and formulas, in which axe-core sees no text
        )
    },
}
# Parts that the theme writes: its sidebar and its buttons are regions without names
OF_THE_THEME = {"exclude": [[".sidebar-drawer"], [".content-icon-container"]]}


class Files(SimpleHTTPRequestHandler):
    """Serves a folder, and logs nothing."""

    protocol_version = "HTTP/1.1"  # keeps connections open

    def log_message(self, *args: Any) -> None:
        """Do nothing: failed requests are seen in the browser."""


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine.

    Pages from file:// have no status codes, and browsers forbid them to load some files that a site may load.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@dataclass
class Look:
    """Results for one page."""

    name: str
    checks: int = 0
    title: str = ""
    anchors: set[str] = field(default_factory=set)
    links: list[dict[str, Any]] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)  # failure -> the widths and schemes where it was seen

    def check(self, is_right: object, failure: str, where: str = "") -> None:
        """Count a check, and keep what is wrong."""
        self.checks += 1
        if not is_right:
            self.found.setdefault(failure, []).append(where)

    def add(self, result: dict[str, Any], where: str = "") -> None:
        """Take over what look_at_site.js has checked."""
        self.checks += result["checks"] - len(result["failures"])
        for failure in result["failures"]:
            self.check(False, failure, where)

    @property
    def failures(self) -> list[str]:
        """A sentence for each failure, with the page, and the widths and schemes unless it is there in all."""
        everywhere = len(WIDTHS) * len(SCHEMES)
        return [
            f"{self.name}, {' and '.join(where)}: {failure}"
            if any(where) and len(where) < everywhere
            else f"{self.name}: {failure}"
            for failure, where in self.found.items()
        ]


class Observer:
    """Opens pages one after the other in the same tab, which watches the console and all requests."""

    def __init__(self, browser: Browser, site: str, shots: Path | None) -> None:
        self.site, self.shots = site, shots
        self.axe = Axe()
        self.seen: list[str] = []
        self.page = self.open_tab(browser)

    def open_tab(self, browser: Browser) -> Page:
        """Open a tab that keeps everything that goes wrong in ``seen``."""
        page = browser.new_page(reduced_motion="reduce")
        page.on("console", lambda message: self.watch_console(message))
        page.on("pageerror", lambda error: self.note(f"a script fails: {error}"))
        page.on("request", lambda request: self.watch(request.url))
        page.on("websocket", lambda socket: self.watch(socket.url))
        page.on("requestfailed", lambda request: self.watch_failure(request.url, request.failure))
        page.on("response", lambda answer: self.watch_status(answer.status, answer.url))
        return page

    def note(self, failure: str) -> None:
        """Keep a failure of the page that is open."""
        self.seen.append(failure.replace(self.site, ""))

    def watch_console(self, message: ConsoleMessage) -> None:
        """Note an error or a warning on the console."""
        if message.type in ("error", "warning"):
            self.note(f"the console says {message.text}, of {message.location['url']}")

    def watch(self, url: str) -> None:
        """Note a request that would leave this machine."""
        if not url.startswith((self.site, "data:", "blob:", "about:")):
            self.note(f"the page asks another host, for {url}")

    def watch_failure(self, url: str, reason: str | None) -> None:
        """Note a request without an answer; after an answer other than success, some are given up too."""
        if reason != "net::ERR_ABORTED":
            self.note(f"{url} does not load: {reason}")

    def watch_status(self, status: int, url: str) -> None:
        """Note an answer other than success, or unchanged since the last page."""
        if status not in (200, 304):
            self.note(f"{url} has status {status}")

    def look(self, name: str) -> Look:
        """Open a page, and check it at each width and in each scheme, without loading it again."""
        page, look = self.page, Look(name)
        self.seen.clear()
        self.set_window(next(iter(WIDTHS)), SCHEMES[0])
        answer = page.goto(self.site + name, wait_until="load")
        look.check(answer and answer.ok, "the page does not load")
        page.evaluate(SCRIPT)
        contents = page.evaluate("site.inspect()")
        look.title, look.links, look.anchors = contents["title"], contents["links"], set(contents["anchors"])
        look.add(contents)
        self.run_axe(look)
        for width in WIDTHS:
            backgrounds = {}
            for scheme in SCHEMES:
                self.set_window(width, scheme)
                result = page.evaluate("site.look()")
                look.add(result, f"{width} px {scheme}")
                backgrounds[scheme] = result["background"]
                self.take_picture(name, width, scheme)
            switches = backgrounds["light"] != backgrounds["dark"]
            look.check(switches, "the background is the same, light and dark", f"{width} px")
        for failure in dict.fromkeys(self.seen):
            look.check(False, failure)
        look.checks += 3  # the console, the requests, their answers
        return look

    def set_window(self, width: int, scheme: Any) -> None:
        """Set the width of the window and the colour scheme; styles follow at once, scripts when they are told."""
        is_new = self.page.viewport_size != {"width": width, "height": WIDTHS[width]}
        self.page.set_viewport_size({"width": width, "height": WIDTHS[width]})
        self.page.emulate_media(color_scheme=scheme)
        if is_new:
            self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run_axe(self, look: Look) -> None:
        """Check the rules of axe-core."""
        result = self.axe.run(self.page, context=OF_THE_THEME, options=AXE).response
        look.checks += len(result["passes"])
        for rule in result["violations"]:
            for node in rule["nodes"]:
                look.check(False, f"{rule['help']} ({rule['id']}): {node['html'][:120]}")

    def take_picture(self, name: str, width: int, scheme: str) -> None:
        """Save a picture of the page, if they are wanted."""
        if self.shots:
            path = self.shots / f"{name.removesuffix('.html').replace('/', '-')}-{width}-{scheme}.png"
            height = self.page.evaluate("document.documentElement.scrollHeight")
            clip = {"x": 0, "y": 0, "width": width, "height": min(height, SHOT_HEIGHT)}
            self.page.screenshot(path=path, full_page=True, clip=clip)  # type: ignore[arg-type]


def check_links(folder: Path, site: str, looks: Iterable[Look]) -> Counter[str]:
    """Check where the links of all pages lead, and count those to other sites."""
    pages = {look.name: look for look in looks}
    others: Counter[str] = Counter()
    for look in pages.values():
        for link in look.links:
            goal, fragment, element = urlsplit(link["goal"]), unquote(urlsplit(link["goal"]).fragment), link["element"]
            if link["goal"].startswith("data:"):
                continue
            if not link["goal"].startswith(site):
                look.check(is_address(link["written"]), f"the link is no address, {link['written']!r}: {element}")
                if link["rel"] is None:
                    others[link["goal"]] += 1
                else:
                    is_called = re.search("preconnect|dns-prefetch|prefetch|preload|icon|stylesheet", link["rel"])
                    look.check(not is_called, f"the page asks another host, for {link['goal']}")
                continue
            name = unquote(goal.path)[1:]
            name = f"{name}/index.html".lstrip("/") if (folder / name).is_dir() else name
            exists = (folder / name).is_file()
            look.check(exists, f"the link is broken, {link['written']!r}: {element}")
            if exists and name in pages and fragment not in ("", "top"):
                has_place = fragment in pages[name].anchors
                look.check(has_place, f"the link's place is missing, {link['written']!r} on {name}: {element}")
    return others


def is_address(text: str) -> bool:
    """Whether the address of a link to another site is written as one."""
    address = urlsplit(text)
    if address.scheme == "mailto":
        return re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", address.path) is not None
    return (
        address.scheme in ("http", "https")
        and re.fullmatch(r"([\w-]+\.)+[a-z]{2,}(:\d+)?", address.netloc, re.IGNORECASE) is not None
        and not re.search(r"[\s<>{}|\\^`]", text)
    )


def check_titles(looks: Iterable[Look]) -> None:
    """Check that no two pages have the same title, as tabs and search results show nothing else."""
    first: dict[str, str] = {}
    for look in looks:
        other = first.setdefault(look.title, look.name)
        look.check(other == look.name, f"the title is that of {other}, too: {look.title!r}")


def look_at_pages(site: str, shots: Path | None, names: Iterable[str]) -> list[Look]:
    """Look at some of the pages, in a browser that this starts and ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS, *ALONE])
        observer = Observer(browser, site, shots)
        looks = [observer.look(name) for name in names]
        browser.close()
    return looks


def look_at_site(folder: Path, only: str = "*", shots: Path | None = None) -> tuple[list[Look], Counter[str]]:
    """Look at all pages, or those that a pattern names, and count the links to other sites."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.html"))
    names = [name for name in names if fnmatch(name, only)]
    if not names:
        raise ValueError(f"there is no page {only} in {folder}")
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    browsers = min(os.cpu_count() or 1, 2, 1 + len(names) // 10)
    with serve(folder) as site, ThreadPoolExecutor(browsers) as threads:
        look = functools.partial(look_at_pages, site, shots)
        parts = threads.map(look, [names[i::browsers] for i in range(browsers)])
        looks = sorted((look for part in parts for look in part), key=lambda look: look.name)
    check_titles(looks)
    return looks, check_links(folder, site, looks)


def main() -> None:
    """Look at the site, and print a line for each page and each failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the site that sphinx-build has built")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="the pages to look at, such as 'learn/*'")
    parser.add_argument("--shots", type=Path, metavar="FOLDER", help="where to save a picture of each look")
    options = parser.parse_args()
    began = time.perf_counter()
    if not CHROMIUM:
        sys.exit("needs Chromium: apt install chromium")
    try:
        looks, others = look_at_site(options.folder, options.only, options.shots)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{len(others)} links to other sites, which are not followed:")
    for address in sorted(others):
        print(f"  {address}")
    for look in looks:
        print(f"{look.name}: {look.checks} checks, {len(look.found)} failures")
    failures = [failure for look in looks for failure in look.failures]
    print(*failures, sep="\n", file=sys.stderr)
    checks, seconds = sum(look.checks for look in looks), time.perf_counter() - began
    print(f"{len(looks)} pages, {checks} checks, {len(failures)} failures, in {seconds:.0f} s")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
