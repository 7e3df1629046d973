"""The report of a run: its figures as files, as pages of a PDF, or as one HTML page."""
