"""``python -m groq_batch_cli``: the same as ``groq-batch``."""

from groq_batch_cli.entry_point import main

if __name__ == "__main__":
    main()
