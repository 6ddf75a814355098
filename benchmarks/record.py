"""What a benchmark finds, printed and appended to a file at once: a run that is ended has told what it knew."""

from pathlib import Path


class Record:
    """Lines and rows of tables, in the order in which they were found.

    Parameters
    ----------
    path
        The file; an earlier one is kept, and lines are added at its end.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.problems = []  # what failed, in a few words each

    def line(self, text=""):
        """Print a line, and append it to the file."""
        print(text, flush=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def head(self, *cells):
        """Begin a Markdown table."""
        self.line()
        self.row(*cells)
        self.line("|" + " --- |" * len(cells))

    def row(self, *cells):
        """Add a row to the table."""
        self.line("| " + " | ".join(" ".join(str(cell).split()) for cell in cells) + " |")
