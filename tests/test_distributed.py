"""One training on several processes, which mpiexec starts; few starts, as each takes a second."""

import mpi
import pytest

pytestmark = pytest.mark.needs("mpi4py", "mpiexec")
CASES = mpi.FOLDER / "on_ranks.py"


def test_ranks_train_as_one_process():
    assert mpi.run(2, CASES, "as_one_process").startswith("as_one_process replay of recorded steps")
