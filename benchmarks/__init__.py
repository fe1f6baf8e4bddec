"""How fast splitsweep is, measured beside the programs that one would compare it with: `python -m benchmarks`.

One module a question, each with `run(options)` that returns its tables. Nothing here is imported by the package.
"""
