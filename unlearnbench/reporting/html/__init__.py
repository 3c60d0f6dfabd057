"""The report: records to one HTML file that needs no network and no script."""
