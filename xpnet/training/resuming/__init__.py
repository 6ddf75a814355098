"""`checkpoint=`, `every=` and `resume=`: trainings and searches in files, from which they are resumed.

`saving.py` says where and when a file is written. `checkpoint.py` writes a training and reads it, and `search_file.py`
does so for a search. `comparison.py` describes a call, by `description.py`, and compares it with that of a file.
"""
