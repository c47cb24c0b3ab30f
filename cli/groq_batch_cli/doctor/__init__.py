"""The looks of ``groq-batch doctor``: each tells of one thing whether it is well, or what to do."""
