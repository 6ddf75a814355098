"""tools/look_at_site.py finds each defect of a small site, in which one page has them all and two have none."""

import itertools
import re
import runpy
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
<link rel="icon" href="data:,">
<style>
body {{ background: white; color: black; margin: 0 }}
@media (prefers-color-scheme: dark) {{ body {{ background: black; color: white }} a {{ color: #8af }} }}
</style>
</head>
<body><main><h1>{name}</h1>{body}</main></body>
</html>
"""
ICON = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" width="90" height="90"><path d="M1 1V8"/></svg>'

GOOD = """
<p>Code with <code>$$</code> in it, and <a href="folder/page.html">another page</a>.</p>
<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>
<p><img src="icon.svg" alt="An icon" loading="lazy"></p>
<svg role="img" aria-label="A square" width="100" height="100"><rect width="100" height="100"/></svg>
<div style="overflow-x: auto" tabindex="0"><div style="width: 600px">A wide box that scrolls</div></div>
<pre style="overflow-x: auto" tabindex="0">A line of code that fits on a desktop, and on a phone scrolls</pre>
<iframe src="folder/page.html" title="Another page" loading="lazy"></iframe>
"""

# In a folder, and allowed no styles and no scripts but its own
STRICT_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'self'; img-src data:">
<title>another page</title>
<link rel="icon" href="data:,">
</head>
<body><main><h1>Here</h1></main></body>
</html>
"""

# Name of a defect -> the text that has it, and a pattern for each failure that this must bring
DEFECTS = {
    "missing-picture": (
        '<img src="missing.png" alt="A picture">',
        ["missing.png has status 404", "the console says Failed to load resource"],
    ),
    "undescribed-picture": ('<img src="icon.svg" alt="">', ['the picture is not described: <img src="icon.svg">']),
    "undescribed-drawing": (ICON, ["the picture is not described: <svg>"]),
    "missing-frame": (
        '<iframe src="missing.html" title="A page" loading="lazy"></iframe>',
        # The page about the missing one is large
        ["missing.html has status 404", "the console says Failed to load resource", "the frame is smaller"],
    ),
    "frame-scrolls": (
        '<iframe src="folder/page.html" title="A page" style="height: 40px"></iframe>',
        [r'the frame is smaller than its page, of \d+ × \d+ px: <iframe src="folder/page.html">'],
    ),
    "console-error": ("<script>console.error('oh')</script>", ["the console says oh"]),
    "console-warning": ("<script>console.warn('ah')</script>", ["the console says ah"]),
    "script-fails": ("<script>nothing()</script>", ["a script fails: nothing is not defined"]),
    "outside-request": (
        '<script src="https://www.example.com/a.js"></script>',
        ["asks another host, for https://www.example.com/a.js", "the console says Failed to load resource"],
    ),
    "wide": ('<div style="width: 600px">a wide box</div>', ['this ends at 600 px, outside the window: <div> "a wide']),
    "cut-off": (
        '<div style="overflow-x: clip"><div style="width: 600px">a wide box</div></div>',
        ['this ends at 600 px, outside the window: <div> "a wide box"'],
    ),
    "cut-off-code": (
        f'<pre style="overflow-x: auto; width: 300px">{60 * "code "}</pre>',
        [r'the code is \d{4} px wide, and its box 300 px: <pre> "code code'],
    ),
    "tex": (r"<p>Half is $\frac{1}{2}$</p>", [r"the text shows TeX, .*frac"]),
    "tex-formula": (r"<math><mi>\alpha</mi></math>", [r'the text shows TeX, "\\alpha": <mi>']),
    "pale": (
        '<p style="color: #888">pale</p>',
        [r'the contrast is 3.5 and must be 4.5, rgb\(136,136,136\) on rgb\(255,255,255\): <p> "pale"'],
    ),
    "transparent": (
        '<p style="opacity: 0.4">pale</p>',
        [r"the contrast is 2.8 .* on rgb\(255,255,255\)", r"the contrast is 3.7 .* on rgb\(0,0,0\)"],
    ),
    "only-coloured": (
        '<p>A <a href="folder/page.html" style="text-decoration: none">link</a> in a text</p>',
        ['the link is not underlined: <a> "link"'],
    ),
    # What axe-core checks is its own affair; these show that it runs
    "left-out-level": ("<h3>deep</h3>", [r"\(heading-order\): <h3>"]),
    "unnamed-button": ("<button></button>", [r"must have discernible text \(button-name\): <button>"]),
    "no-title": ("<script>document.title = ''</script>", ["document-title"]),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    (folder / "folder").mkdir()
    (folder / "good.html").write_text(PAGE.format(name="good", body=GOOD))
    (folder / "bad.html").write_text(PAGE.format(name="bad", body="".join(text for text, _ in DEFECTS.values())))
    (folder / "folder" / "page.html").write_text(STRICT_PAGE)
    (folder / "icon.svg").write_text(ICON)
    return folder


@pytest.mark.slow
def test_defects_are_found_and_pictures_taken(site, tmp_path):
    looks = TOOL["look_at_site"](site, shots=tmp_path)
    assert looks.keys() == {"good.html", "folder/page.html", "bad.html"}
    assert looks["good.html"] == looks["folder/page.html"] == []
    for name, (_, patterns) in DEFECTS.items():
        for pattern in patterns:
            assert any(re.search(pattern, failure) for failure in looks["bad.html"]), (name, pattern, looks["bad.html"])
    known = "|".join(pattern for _, patterns in DEFECTS.values() for pattern in patterns)
    assert [failure for failure in looks["bad.html"] if not re.search(known, failure)] == []
    shots = itertools.product(("good", "bad", "folder-page"), (1280, 390), ("light", "dark"))
    names = {f"{page}-{width}-{scheme}.png" for page, width, scheme in shots}
    assert {path.name for path in tmp_path.iterdir()} == names
