"""The modality's door on the screen: what scanners receive, ask for, are shown, and who calls."""
