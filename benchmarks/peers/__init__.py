"""Ways to train the workloads, one file a family; a function makes a workload ready and returns `Steps`.

A file imports its framework at the top, so that the first-call time begins after the imports.
"""
