"""Take the picture of README.md: the page that `xpnet show` writes for the network of its documentation.

Build the documentation, and then run `python tools/take_picture.py docs/_build/html/_static/digits.html`. This needs
Chromium and the extra test-all.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import open_browser  # noqa: E402

SIZE = {"width": 1180, "height": 940}  # pixels; the upper part of the page


def main() -> None:
    """Open a page, and save what its window shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "show.png")
    arguments = parser.parse_args()
    with open_browser() as browser:
        page = browser.new_page(viewport=SIZE)
        page.goto(arguments.page.resolve().as_uri())
        page.get_by_text("Answer", exact=True).wait_for()
        page.screenshot(path=arguments.out)


if __name__ == "__main__":
    main()
