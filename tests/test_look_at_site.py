"""tools/look_at_site.py finds each defect of a small site, in which every page but one has a defect of its own."""

import re
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("chromium")
TOOL = runpy.run_path(str(Path(__file__).parents[1] / "tools" / "look_at_site.py"))

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<link rel="icon" href="icon.svg">
<style>
body {{ background: white; color: black; margin: 0 }}
@media (prefers-color-scheme: dark) {{ body {{ background: black; color: white }} a {{ color: #8af }} }}
</style>
</head>
<body>
<main>
<h1>{name}</h1>
{body}
</main>
</body>
</html>
"""
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" width="90" height="90">{}</svg>'
LINES = '<path d="M1 1V8M3 1V8M5 1V8M7 1V8" fill="none" stroke="black"/>'

GOOD = """
<p>Code with <code>$$</code> in it, <a href="#place">a link</a> to <a href="folder/page.html#here">another page</a> and
<a href="https://www.example.com/page?x=1#y">another site</a>.</p>
<h2 id="place">A place</h2>
<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>
<p><img src="icon.svg" alt="An icon"></p>
<svg role="img" aria-label="A black square with words on it" width="100" height="100">
<rect width="100" height="100" fill="black"/><text x="10" y="50" fill="white">words</text></svg>
<div style="overflow-x: auto" tabindex="0"><div style="width: 600px">A wide box that scrolls</div></div>
<pre style="overflow-x: auto" tabindex="0">A line of code that fits on a desktop, and on a phone scrolls</pre>
<iframe src="folder/page.html" title="Another page" loading="lazy"></iframe>
<div id="box">A box that follows the window</div>
<script>new ResizeObserver(() => (box.style.width = `${innerWidth - 50}px`)).observe(document.body)</script>
"""

# In a folder, and allowed no styles and no scripts but its own
STRICT_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; img-src data:">
<title>another page</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
</head>
<body><main><h1 id="here">Here</h1></main></body>
</html>
"""

# Name of a page -> its text, and a pattern for each failure that this must bring
DEFECTS = {
    "broken-link": ('<a href="missing.html">a link</a>', ["the link is broken, 'missing.html': <a> \"a link\""]),
    "broken-anchor": ('<a href="good.html#no">a link</a>', ["place is missing, 'good.html#no' on good.html"]),
    "bad-address": ('<a href="https://nowhere/a b">a link</a>', ["the link is no address, 'https://nowhere/a b'"]),
    "missing-picture": (
        '<img src="missing.png" alt="A picture">',
        ["the picture is not shown", "missing.png has status 404", "the console says Failed to load resource"],
    ),
    "undescribed-picture": ('<img src="icon.svg" alt="">', [r"has no description \(alt\)"]),
    "undescribed-drawing": (ICON.format(LINES.replace("black", "gray")), ["the drawing has no role"]),
    "black-picture": (
        '<img src="lines.svg" alt="Lines">',
        [r"390 px dark: the picture is hardly seen on rgb\(0, 0, 0\)"],
    ),
    "missing-frame": (
        '<iframe src="missing.html" title="A page"></iframe>',
        [
            "missing.html has status 404",
            "the console says Failed to load resource",
            "the page in the frame has .* the frame 300 × 150",  # the server's page about the missing one
        ],
    ),
    "frame-scrolls": (
        '<iframe src="folder/page.html" title="A page" style="height: 40px"></iframe>',
        [r'the page in the frame has \d+ × \d+ px, the frame 300 × 40: <iframe src="folder/page.html">'],
    ),
    "missing-font": (
        "<style>@font-face { font-family: f; src: url(f.woff2) } h1 { font-family: f }</style>",
        ["the font does not load: f", "f.woff2 has status 404", "the console says Failed to load resource"],
    ),
    "console-error": ("<script>console.error('oh')</script>", ["the console says oh, of console-error.html"]),
    "console-warning": ("<script>console.warn('oh')</script>", ["the console says oh, of console-warning.html"]),
    "script-fails": ("<script>nothing()</script>", ["a script fails: nothing is not defined"]),
    "outside-request": (
        '<script src="https://www.example.com/a.js"></script>',
        [
            "asks another host, for https://www.example.com/a.js",
            "https://www.example.com/a.js does not load",
            "the console says Failed to load resource",
        ],
    ),
    "outside-connection": (
        '<link rel="dns-prefetch" href="https://www.example.com">',
        ["asks another host, for https://www.example.com"],
    ),
    "wide": (
        '<div style="width: 600px">a wide box</div>',
        [
            "390 px light and 390 px dark: the page is 600 px wide, and the window 390 px",
            '390 px light and 390 px dark: this ends at 600 px, outside the window: <div> "a wide box"',
        ],
    ),
    "cut-off": (
        '<div style="overflow-x: clip"><div style="width: 600px">a wide box</div></div>',
        ['390 px dark: this ends at 600 px, outside the window: <div> "a wide box"'],
    ),
    "cut-off-code": (
        f'<pre style="overflow-x: auto; width: 300px">{60 * "code "}</pre>',
        [r'1280 px light and 1280 px dark: the code is \d{4} px wide, and its box 300 px: <pre> "code code'],
    ),
    "tex": (r"<p>Half is $\frac{1}{2}$</p>", [r"the text shows TeX, .*frac"]),
    "tex-block": ("<p>$$x^2$$</p>", ["the text shows TeX, .*"]),
    "tex-formula": (r"<math><mi>\alpha</mi></math>", ["the formula shows TeX"]),
    "empty-formula": ("<math></math>", ["this takes no room: <math>"]),
    "two-h1": ("<h1>again</h1>", ["there must be one h1, not 2"]),
    "left-out-level": ("<h3>deep</h3>", ['<h3> "deep" follows a heading of level 1']),
    "pale": (
        '<p style="color: #888">pale</p>',
        [r"1280 px light and 390 px light: the contrast is 3.5 and must be 4.5, rgb\(136, 136, 136\) on rgb\(255"],
    ),
    "transparent": ('<p style="opacity: 0.4">pale</p>', [r"light: the contrast is 2.8", "dark: the contrast is 3.7"]),
    "always-light": (
        "<style>body { background: white !important; color: black !important } </style>",
        ["the background is the same, light and dark"],
    ),
    "unnamed-button": ("<button></button>", [r"must have discernible text \(button-name\): <button>"]),
    "no-language": (
        "<script>document.documentElement.lang = ''</script>",
        ["does not say its language", "html-has-lang"],
    ),
    "no-title": ("<script>document.title = ''</script>", ["the page has no title", "document-title"]),
    "same-title": ("<script>document.title = 'pale'</script>", ["the title is that of pale.html, too"]),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "folder").mkdir()
    for name, body in {"good": GOOD, **{name: body for name, (body, _) in DEFECTS.items()}}.items():
        (folder / f"{name}.html").write_text(PAGE.format(name=name, body=body))
    (folder / "folder" / "page.html").write_text(STRICT_PAGE)
    (folder / "folder" / "style.css").write_text(":root { color-scheme: light dark }")
    (folder / "icon.svg").write_text(ICON.format('<rect width="9" height="9" fill="white"/>' + LINES))
    (folder / "lines.svg").write_text(ICON.format(LINES))
    return folder


@pytest.mark.slow
def test_defects_are_found(site):
    looks, others = TOOL["look_at_site"](site)
    failures = {look.name.removesuffix(".html"): look.failures for look in looks}
    assert failures.pop("good") == failures.pop("folder/page") == []
    assert failures.keys() == DEFECTS.keys()
    for name, (_, patterns) in DEFECTS.items():
        for pattern in patterns:
            assert any(re.search(pattern, failure) for failure in failures[name]), (pattern, failures[name])
        strange = [
            failure for failure in failures[name] if not any(re.search(pattern, failure) for pattern in patterns)
        ]
        assert not strange, name
        assert all(failure.startswith(f"{name}.html") for failure in failures[name])
    assert others["https://www.example.com/page?x=1#y"] == 1
    assert all(look.checks > 25 for look in looks)


@pytest.mark.slow
def test_output_and_exit_status(site, tmp_path, monkeypatch, capsys):
    for only, failures in (("good.html", 0), ("two-h1.html", 1)):
        monkeypatch.setattr(sys, "argv", ["look_at_site.py", str(site), "--only", only, "--shots", str(tmp_path)])
        with pytest.raises(SystemExit) as end:
            TOOL["main"]()
        assert end.value.code == failures
        output = capsys.readouterr()
        assert re.search(rf"{only}: \d+ checks, {failures} failures", output.out)
        assert re.search(rf"1 pages, \d+ checks, {failures} failures, in \d+ s", output.out)
        assert ("two-h1.html: there must be one h1, not 2" in output.err) == failures
        assert ("  https://www.example.com/page?x=1#y\n" in output.out) == (only == "good.html")
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{page}-{width}-{scheme}.png"
        for page in ("good", "two-h1")
        for width in (1280, 390)
        for scheme in ("light", "dark")
    }


def test_no_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["look_at_site.py", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"there is no page \* in "):
        TOOL["main"]()


@pytest.mark.parametrize(
    "address", ["https://example.com", "http://a-b.example.com:8000/x?y#z", "mailto:a@example.com"]
)
def test_address(address):
    assert TOOL["is_address"](address)


@pytest.mark.parametrize(
    "address", ["https://", "https://example", "ftp://example.com", "http:example.com", "mailto:a"]
)
def test_no_address(address):
    assert not TOOL["is_address"](address)
