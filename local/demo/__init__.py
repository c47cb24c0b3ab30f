"""``make demo``: the whole pipeline on this machine, from a file of requests to its answers.

The real template is built and deployed by the real SAM CLI, on an emulated AWS. The Groq API is a
simulator, or the real one when there is a key.
"""
