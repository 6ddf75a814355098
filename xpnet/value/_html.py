"""HTML for notebooks: tables whose texts are all escaped."""

from collections.abc import Sequence
from html import escape


def make_table(lines: Sequence[Sequence[object]], left: Sequence[int] = (), caption: str = "") -> str:
    """Lay out rows of values as a table; the first row is its head.

    Parameters
    ----------
    lines
        The rows.
    left
        Numbers of the columns that are aligned left; the others are aligned right.
    caption
        A line above the table; none if it is empty.

    Examples
    --------
    >>> print(make_table([["layer", "name"], [1, "<b>"]], left=[1]))
    <table>
    <thead><tr><th style="text-align: right">layer</th><th style="text-align: left">name</th></tr></thead>
    <tbody>
    <tr><td style="text-align: right">1</td><td style="text-align: left">&lt;b&gt;</td></tr>
    </tbody>
    </table>
    """
    head, *rows = (
        [(escape(str(value)), "left" if k in left else "right") for k, value in enumerate(line)] for line in lines
    )
    line = '<caption style="caption-side: top; text-align: left">' + escape(caption) + "</caption>\n"
    return "\n".join(
        [
            f"<table>\n{line if caption else ''}<thead>{_make_row('th', head)}</thead>",
            "<tbody>",
            *(_make_row("td", row) for row in rows),
            "</tbody>\n</table>",
        ]
    )


def _make_row(tag: str, cells: Sequence[tuple[str, str]]) -> str:
    return "<tr>" + "".join(f'<{tag} style="text-align: {side}">{text}</{tag}>' for text, side in cells) + "</tr>"
