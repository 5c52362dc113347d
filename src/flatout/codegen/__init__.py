"""From the graph of a step to a library that runs thousands of them a call.

    lower     the graph becomes loop nests             (nest.py, values.py, lower.py, operators.py and a file
                                                        for each family of operators)
    fuse      nests over the same samples become one   (fuse.py)
    slices    a large batch runs in slices that stay   (slices.py)
              in the cache, and in parts for threads
    parallel  which nests threads share                (parallel.py; team.py: one thread or all)
    memory    temporaries share one arena              (memory.py)
    render    loop nests become C                      (render_c.py; flatout_*.h)
    build     C becomes a shared library, kept         (compiler.py, build.py)

Imports go down this list only; native_step.py runs it from top to bottom. random_numbers.py builds a library
of its own, for plans that are handed their random numbers.
"""
