"""A project while people look at it: its tables and texts, journal, rule drafts, runs, jobs and strips."""
