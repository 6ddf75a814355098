"""What a rank of the tests of faults does: `test_distributed_faults.py` starts two of it.

    mpiexec -n 2 python ranks.py CASE FOLDER
"""
