"""The set-up pages: scanners, opening hours, closed days, procedures, order sets; a file each."""
