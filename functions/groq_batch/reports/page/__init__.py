"""The job report and the index of all jobs as HTML pages."""
