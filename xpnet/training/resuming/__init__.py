"""`checkpoint=`, `every=` and `resume=`: trainings in files, from which they are resumed.

`saving.py` says where and when a file is written. `checkpoint.py` writes a training and reads it. `comparison.py`
describes a call, and compares it with that of a file.
"""
