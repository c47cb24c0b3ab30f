"""Read and extend CSV, TSV, JSONL and Parquet tables, keeping their types.

Readers yield batches of rows. A batch returns single columns as texts, for prompts, ids and CSV
cells, and its rows as JSON objects or Arrow columns. Writers append answer columns. A value keeps
its type if the output format has that type.
"""
