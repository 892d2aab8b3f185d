"""A department in minutes: scanners, clerks and faults at once; whether anything is amiss."""
