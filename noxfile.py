"""README's tests with other versions of Python and of the libraries, each in a new environment.

`nox` runs all sessions, `nox -s "newest-3.13"` one of them, and `nox -l` lists them. What follows `--` goes to pytest.
Pythons that are not here are downloaded by uv.
"""

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"

LOWEST, HIGHEST = "3.11", "3.14"


def test(session: nox.Session, *resolution: str, extras: str = "test") -> None:
    """Install xpnet, and run the tests that README names; the report begins with the versions."""
    session.install(*resolution, "--editable", f".[{extras}]")
    session.run("uv", "pip", "list", external=True)
    session.run("pytest", "-n", "auto", *session.posargs)


@nox.session(python=[LOWEST, "3.12", "3.13", HIGHEST, f"{HIGHEST}t"])
def newest(session: nox.Session) -> None:
    """Test with the newest versions; 3.14t is without the global interpreter lock."""
    test(session)


@nox.session(python=LOWEST)
def lowest(session: nox.Session) -> None:
    """Test with the lowest versions that pyproject.toml allows."""
    test(session, "--resolution=lowest-direct")


@nox.session(python=LOWEST)
def lowest_extras(session: nox.Session) -> None:
    """Test with the lowest versions of libraries of the extras, too."""
    test(session, "--resolution=lowest-direct", extras="test,jax,tables,plots,onnx")


@nox.session(python=HIGHEST)
def coming(session: nox.Session) -> None:
    """Test with versions that are not released yet, where there are any."""
    test(session, "--prerelease=allow")
