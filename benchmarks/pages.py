"""Tables in pages: a benchmark replaces them between comments, and the text around them stays."""

import re
import sys

END = "<!-- end -->"


def format_table(head, rows, right=()):
    """Format a Markdown table; `right` holds the numbers of the columns that are aligned to the right."""
    rules = ["---:" if i in right else "---" for i in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))


def replace_tables(path, script, tables):
    """Replace the tables of a script in a page, each between a comment that names it and one that ends it.

    Parameters
    ----------
    path
        The page. It need not hold all tables; if it holds none of them, the program ends with a message.
    script
        File name of the benchmark.
    tables
        Name -> text, in Markdown.
    """
    text, count = path.read_text(encoding="utf-8"), 0
    for name, new in tables.items():
        pattern = rf"(<!-- {re.escape(script)}: {re.escape(name)} -->\n).*?({END})"
        text, replaced = re.subn(
            pattern, lambda found, new=new: f"{found[1]}\n{new}\n\n{found[2]}", text, flags=re.DOTALL
        )
        count += replaced
    if not count:
        places = " or ".join(f"<!-- {script}: {name} -->" for name in tables)
        sys.exit(f"{path} has no place for these tables: a line {places}, and a line {END} after it")
    path.write_text(text, encoding="utf-8")
