"""Django's PostgreSQL, waited for no longer than `worklist.deadline` says."""
