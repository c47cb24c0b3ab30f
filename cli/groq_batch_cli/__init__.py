"""The command line ``groq-batch``: checks request files, runs them, fetches their results.

It uses the pipeline's own checks, prices and names (the package ``groq_batch``), so that nothing
that is said here can differ from what the deployed stack will say.
"""
