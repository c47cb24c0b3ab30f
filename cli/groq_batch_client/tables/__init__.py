"""Tables as people have them: CSV, TSV, JSONL and Parquet, read and extended in their own types.

A table is read in batches of rows. A batch hands out single columns as texts, for prompts, ids and
CSV cells, and its rows as JSON objects or Arrow columns; a writer appends answer columns to it. No
value changes its type on the way to a format that has that type.
"""
