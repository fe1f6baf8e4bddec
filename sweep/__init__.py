"""From a spec to answers: spec -> plan -> execute -> store -> query, tables and the command line.

Imports `core` (the engine) and `cluster` (the fan-out); neither of them imports this package.
"""
