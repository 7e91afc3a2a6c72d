"""Requests of data subjects: taken in, worked on, answered, and the file that a person is given."""
