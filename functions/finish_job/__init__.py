"""The function that ends a job."""
