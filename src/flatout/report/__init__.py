"""Show what training did: a live display, a picture of the loss, tables and short texts.

Everything here draws plain numbers and strings and knows nothing of how they came to be.
"""
