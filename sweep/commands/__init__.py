"""One module per command of the command line, each with one function of the command's name.

They are imported whenever `splitsweep` starts, so they import nothing heavy (pandas, ray, numba, scipy, pyarrow,
duckdb) outside their functions.
"""
