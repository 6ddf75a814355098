"""Pages for a browser: one that shows a network, and lessons."""

from xpnet.pages._lessons import LESSONS, make_examples, write_lesson
from xpnet.pages._page import choose_picture, make_page, write_page

__all__ = [
    "LESSONS",
    "choose_picture",
    "make_examples",
    "make_page",
    "write_lesson",
    "write_page",
]
