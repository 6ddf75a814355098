"""Look inside: a network as one page for a browser, which computes its outputs as you draw or move a slider."""

from xpnet.show.page import make_page, write_page

__all__ = ["make_page", "write_page"]
