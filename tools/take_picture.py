"""Take the picture of README.md: a digit drawn on the page of a network that is trained for it.

Run `python tools/take_picture.py` where xpnet is installed. This needs Chromium and the extra test-all.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser import open_browser  # noqa: E402
from drawings import draw  # noqa: E402

SIZE = {"width": 1180, "height": 1400}  # pixels of the window; the picture ends below the first row of cards
MARGIN = 16  # pixels below the cards
DIGIT = "3"


COMMANDS = """
xpnet train --hidden 30 --save digits.safetensors
xpnet show digits.safetensors -o digits.html
"""


def main() -> None:
    """Draw a digit, and save what the page shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "show.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        subprocess.run(COMMANDS, shell=True, check=True, cwd=folder)
        page.goto((Path(folder) / "digits.html").as_uri())
        page.click("#clear")
        draw(page, DIGIT)
        page.wait_for_function("(digit) => document.querySelector('#verdict strong').textContent === digit", arg=DIGIT)
        page.mouse.move(0, 0)
        page.wait_for_timeout(500)  # the bars grow
        card = page.locator("section.inside").bounding_box()
        assert card is not None
        clip = {"x": 0, "y": 0, "width": SIZE["width"], "height": card["y"] + card["height"] + MARGIN}
        page.screenshot(path=arguments.out, clip=clip)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
