"""What `tables.py report` shows: ranks and ratios of the contenders, from a file of results alone."""

import itertools
import re
from typing import NamedTuple

import numpy as np
import pandas as pd
from table_contenders import OURS
from table_sets import DEVELOPED, EARLIER, HELD_OUT, PUT_ASIDE, REGRESSION, ROWS, TABLES

ABSENT = "–"
LEAST = 1e-4  # errors count as this at least in ratios: a contender may make none
GROUPS = {
    "put aside": [*PUT_ASIDE],
    "earlier": [*EARLIER],
    "all": [*DEVELOPED, *HELD_OUT],
    "held out": [*HELD_OUT],
    "developed": [*DEVELOPED],
}


class Ratio(NamedTuple):
    """A geometric mean over tables, and its standard error."""

    mean: float
    error: float

    @classmethod
    def over(cls, ratios):
        """Average the ratios of each table."""
        logs = np.log(ratios)
        mean = float(np.exp(logs.mean()))
        return cls(mean, mean * float(logs.std() / np.sqrt(len(logs))) if len(logs) > 1 else float("nan"))

    def __str__(self):
        return f"{self.mean:.3f}" + (f" ± {self.error:.3f}" if self.error > 0 else "")


class Standing(NamedTuple):
    """How a contender did on a group of tables.

    The rank and the ratios to the best of each table are None if a result is missing: they depend on who takes part.
    Ratios to the reference are over the splits that both have.
    """

    contender: str
    fits: int
    rank: float | None
    to_best: Ratio | None
    to_reference: Ratio | None
    log_loss_to_best: Ratio | None
    log_loss_to_reference: Ratio | None
    cpu_seconds: float


def read_results(path):
    """Read a file of results."""
    return pd.read_csv(path)


def spread(results, measure):
    """Arrange a measure with a row for each split of each table, and a column for each contender."""
    wide = results.pivot(index=["table", "split"], columns="contender", values=measure)
    return wide.dropna(how="all").clip(lower=LEAST)


def over_splits(wide):
    """Average over the splits of each table."""
    return wide.groupby(level="table", sort=False).mean()


def compare_with_best(wide):
    """Return the ranks and ratios to the best of each table, of the contenders that have all results."""
    means = over_splits(wide.dropna(axis="columns"))
    return means.rank(axis="columns").mean(), means.div(means.min(axis="columns"), axis="index")


def compare_with(wide, contender, reference):
    """Return the ratio to a reference for each table that both have, over the splits that both have; None without."""
    if not {contender, reference} <= {*wide}:
        return None
    both = over_splits(wide[[contender, reference]].dropna()) if contender != reference else over_splits(wide)
    return both[contender] / both[reference]


def rank(results, reference=OURS):
    """Return the standings of all contenders, the best first."""
    finished = results[results["error"].notna()]
    errors, log_losses = spread(finished, "error"), spread(finished, "log_loss")
    ranks, to_best = compare_with_best(errors)
    _, log_loss_to_best = compare_with_best(log_losses)
    seconds = finished.groupby("contender")["cpu_seconds"].mean()

    def ratio(of):
        return None if of is None or of.empty else Ratio.over(of)

    standings = [
        Standing(
            contender,
            int(errors[contender].count()),
            ranks.get(contender),
            ratio(to_best.get(contender)),
            ratio(compare_with(errors, contender, reference)),
            ratio(log_loss_to_best.get(contender)),
            ratio(compare_with(log_losses, contender, reference)),
            seconds[contender],
        )
        for contender in errors
    ]
    return sorted(standings, key=lambda one: (one.to_best is None, one.to_best or one.to_reference or Ratio(np.inf, 0)))


# Tables in Markdown


def markdown(head, rows):
    """Lay out a table; the cells after the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(ABSENT if cell is None else str(cell) for cell in line) + " |" for line in lines)


def show_standings(results, reference=OURS):
    """Lay out the standings; a contender that lacks results has their number beside its name."""
    standings, most = rank(results, reference), len(results.drop_duplicates(["table", "split"]))
    ratios = [f"{measure} / {to}" for measure in ("error", "log loss") for to in ("best", reference)]
    head = ["", "mean rank", *ratios, "CPU s"]
    rows = [
        [
            f"**{one.contender}**" if one.contender == OURS else one.contender,
            None if one.rank is None else f"{one.rank:.1f}",
            *one[3:7],
            f"{one.cpu_seconds:.1f}",
        ]
        for one in standings
    ]
    for row, one in zip(rows, standings, strict=True):
        row[0] += f" ({one.fits} of {most} fits)" if one.fits < most else ""
    return markdown(head, rows)


def show_groups(groups, reference=OURS):
    """Lay out the ratios to the reference of error and log loss for several groups of tables."""
    standings = [{one.contender: one for one in rank(results, reference)} for results in groups.values()]
    head = ["", *(f"{len(GROUPS[name])} {name}: {measure}" for name in groups for measure in ("error", "log loss"))]
    rows = [
        [contender, *itertools.chain(*(ratios_to_reference(group.get(contender)) for group in standings))]
        for contender in dict.fromkeys(itertools.chain(*standings))
    ]
    return markdown(head, rows)


def ratios_to_reference(standing):
    """Return both ratios of a contender, which may have no results."""
    return (standing.to_reference, standing.log_loss_to_reference) if standing else (None, None)


def show_tables(results, measure, names):
    """Lay out a measure, averaged over the splits of each table. The best is bold; * says that splits are missing."""
    wide = spread(results, measure)
    means, counts = over_splits(wide), wide.groupby(level="table", sort=False).count()
    is_full = counts.eq(counts.max(axis="columns"), axis="index")
    best = means.where(is_full).min(axis="columns").map("{:.3f}".format)
    contenders = sorted(means, key=lambda contender: (contender != OURS, means[contender].isna().sum(), contender))

    def cell(name, contender):
        if not counts[contender][name]:
            return None
        text = f"{means[contender][name]:.3f}"
        if not is_full[contender][name]:
            return f"{text}*"
        return f"**{text}**" if text == best[name] else text

    rows = [[name, *(cell(name, contender) for contender in contenders)] for name in names if name in means.index]
    return markdown(["", *contenders], rows)


def show_intervals(results, names):
    """Lay out which shares of the targets our intervals cover, and their widths, for each regression."""
    ours = results[(results["contender"] == OURS) & results["coverage"].notna()].groupby("table")
    means, least, most = (getattr(ours[["coverage", "width"]], kind)() for kind in ("mean", "min", "max"))
    rows = [
        [
            name,
            f"{means.coverage[name]:.1%}",
            f"{least.coverage[name]:.1%} to {most.coverage[name]:.1%}",
            f"{means.width[name]:.2f}",
        ]
        for name in names
        if TABLES[name].task == REGRESSION and name in means.index
    ]
    return markdown(["", "covered", "in the splits", "width, in standard deviations"], rows)


def show_larger(results):
    """Lay out the errors and CPU seconds with more rows to train on, of the contenders that have all results."""
    larger = results[(results["rows"] > ROWS) & results["error"].notna()]
    wide = larger.pivot_table(index=["rows", "table"], columns="contender", values=["error", "cpu_seconds"], sort=False)
    contenders = sorted(wide["error"].dropna(axis="columns"), key=lambda contender: (contender != OURS, contender))
    rows = [
        [f"{table}, {rows:,}", *(f"{line['error', c]:.4f}, {line['cpu_seconds', c]:.0f} s" for c in contenders)]
        for (rows, table), line in wide.sort_index(level="rows", sort_remaining=False).iterrows()
    ]
    return markdown(["table, rows at most", *contenders], rows)


def show_failures(results):
    """List what failed."""
    failed = results[results["error"].isna()]
    return "\n".join(f"- {row.contender}, {row.table}, {row.rows:,} rows: {row.failure}" for row in failed.itertuples())


def show(results, reference=OURS):
    """Lay out everything: the titles of all parts, and their tables."""
    results = results.sort_values("table", key=lambda names: names.map([*TABLES].index), kind="stable")
    usual = results[results["rows"] == ROWS]
    groups = {name: usual[usual["table"].isin(tables)] for name, tables in GROUPS.items()}
    parts = {f"standings: {name}": show_standings(group, reference) for name, group in groups.items() if len(group)}
    for name, tables in GROUPS.items():
        if len(groups[name]):
            parts[f"error: {name}"] = show_tables(groups[name], "error", tables)
            parts[f"log loss: {name}"] = show_tables(groups[name], "log_loss", tables)
            parts[f"intervals: {name}"] = show_intervals(groups[name], tables)
    parts["standings: seen before"] = show_groups({name: groups[name] for name in ("earlier", "held out", "developed")})
    return parts | {"larger": show_larger(results), "failures": show_failures(results)}


def fill(page, parts):
    """Put the parts into the text of a page, each between the comments with its title and with `end`."""

    def replace(found):
        return f"{found[1]}\n\n{parts.get(found[2], '')}\n\n{found[3]}"

    return re.sub(r"(<!-- measured: ([\w: ]+) -->).*?(<!-- end -->)", replace, page, flags=re.DOTALL)
