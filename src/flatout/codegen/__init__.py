"""From the graph of a step to a library that runs thousands of them a call.

    lower    the graph becomes loop nests             (nest.py, values.py, lower.py, operators.py)
    fuse     nests over the same samples become one   (fuse.py)
    memory   temporaries share one arena              (memory.py)
    render   loop nests become C                      (render_c.py; flatout_kernels.h, flatout_functions.h,
                                                       flatout_matmul.h)
    build    C becomes a shared library, kept         (compiler.py, build.py)

Imports go down this list only.
"""
