"""README's tests with other versions of Python and of the libraries, each in a new environment.

`nox` runs all sessions, `nox -s "newest-3.13"` one of them, and `nox -l` lists them. What follows `--` goes to pytest.
uv downloads Pythons that are not here.
"""

from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"

LOWEST, HIGHEST = "3.11", "3.15"
LOWEST_VERSIONS = "--resolution=lowest-direct"


def test(session: nox.Session, *arguments: str) -> None:
    """Install xpnet as uv's arguments say, show the versions, and run the tests."""
    session.install(*arguments)
    session.run("uv", "pip", "list", external=True)
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(python=[LOWEST, "3.12", "3.13", "3.14", "3.14t", HIGHEST])
def newest(session: nox.Session) -> None:
    """Test with the newest versions; 3.14t is Python without a global lock."""
    test(session, "-e", ".[test]")


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """Test with the lowest versions that pyproject.toml allows."""
    test(session, LOWEST_VERSIONS, "-e", ".[test]")


@nox.session(python=LOWEST)
def lowest_extras(session: nox.Session) -> None:
    """Test with the lowest versions of optional libraries, too."""
    # Of pyparsing one as old as matplotlib: the newest warns of calls in it
    test(session, LOWEST_VERSIONS, "-e", ".[test,jax,tables,plots,onnx]", "pyparsing~=3.1.0")


@nox.session(python=HIGHEST)
def coming(session: nox.Session) -> None:
    """Test with versions that are not released yet, where there are any."""
    test(session, "--prerelease=allow", "-e", ".[test]")


@nox.session(python=LOWEST)
def sycl(session: nox.Session) -> None:
    """Test dpnp on the CPU as a SYCL device; this downloads 2.9 GB."""
    session.install("-e", ".[test,dpnp]", "intel-opencl-rt")
    driver = str(Path(session.virtualenv.location, "lib", "libintelocl.so"))
    arguments = ["-k", "dpnp", "-m", "slow or not slow", "tests", *session.posargs]
    session.run("pytest", *arguments, env={"OCL_ICD_FILENAMES": driver})
