"""Take the picture of README.md: a digit drawn on the page that README's commands write.

Run `python tools/take_picture.py` where xpnet is installed. This needs Chromium and the extra test-all.
"""

import argparse
import re
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


def run_commands(folder: Path) -> Path:
    """Run the commands of README.md that train a network and write its page, and return the page."""
    commands = re.search(r"```sh\n((?:xpnet .*\n)+)```", (ROOT / "README.md").read_text())
    assert commands is not None
    subprocess.run(commands[1], shell=True, check=True, cwd=folder)
    return folder / "digits.html"


def main() -> None:
    """Draw a digit, and save what the page shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "figures" / "show.png")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        page.goto(run_commands(Path(folder)).as_uri())
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
