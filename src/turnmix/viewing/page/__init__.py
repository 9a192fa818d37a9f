"""A report: one HTML file of runs, that opens offline and in which nothing runs that an agent wrote."""
