"""The command line ``groq-batch``: check request files, run them and fetch their results.

It uses the pipeline's own checks, prices and names (the package ``groq_batch``), so its output
cannot differ from that of a deployed stack of the same version.
"""
