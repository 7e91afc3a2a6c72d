"""The report in a bundle: the same facts as report.json, set for people."""
