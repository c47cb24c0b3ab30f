"""Rows of data: reading and writing them as JSONL, CSV and Parquet."""
