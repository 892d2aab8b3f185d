"""The demo's cast: scanners, codes, procedures, patients, and a day of appointments. Data alone."""

from __future__ import annotations

import datetime as dt

ISSUER = "DEMO"

# Name, and the open stretches of each weekday from Monday on; a break lies between two.
OPENING_HOURS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Outpatients", ("07:00-12:00 12:30-18:00",) * 4 + ("07:00-12:00 12:30-16:00", "", "")),
    ("With Saturday morning", ("07:00-19:00",) * 5 + ("08:00-12:00", "")),
)

# AE title, name, modality, location, opening hours ("": always open).
STATIONS = (
    ("CT1", "CT Ground Floor", "CT", "Room 1", "With Saturday morning"),
    ("CT2", "CT Emergency", "CT", "Emergency", ""),
    ("MR1", "MR 1.5 T", "MR", "Room 4", "With Saturday morning"),
    ("MR2", "MR 3 T", "MR", "Room 5", "Outpatients"),
    ("US1", "Ultrasound 1", "US", "Room 7", "Outpatients"),
    ("CR1", "X-ray Bucky", "CR", "Room 2", ""),
    ("DX1", "X-ray Chest", "DX", "Room 3", ""),
    ("MG1", "Mammography", "MG", "Room 8", "Outpatients"),
)

# Days from today, AE title ("": all scanners), reason.
CLOSED_DAYS = ((9, "MR2", "Yearly service"),)

# Code, description, modality, minutes, default station, preparation; the scheme of all is 99DEMO.
PROCEDURES = (
    ("CTHEAD", "CT head", "CT", 15, "CT1", ""),
    ("CTCHEST", "CT chest with contrast", "CT", 20, "CT1", "Nothing to eat for 3 hours"),
    ("CTABDO", "CT abdomen and pelvis", "CT", 30, "CT1", "Nothing to eat for 3 hours"),
    ("CTPOLY", "CT polytrauma", "CT", 30, "CT2", ""),
    ("MRBRAIN", "MR brain", "MR", 30, "MR1", "No metal in the scanner's room"),
    ("MRKNEE", "MR knee", "MR", 25, "MR1", "No metal in the scanner's room"),
    ("MRLSPINE", "MR lumbar spine", "MR", 30, "MR2", "No metal in the scanner's room"),
    ("USABDO", "Ultrasound abdomen", "US", 20, "US1", "Nothing to eat for 6 hours"),
    ("USTHYRO", "Ultrasound thyroid", "US", 15, "US1", ""),
    ("XRHAND", "X-ray hand, 2 views", "CR", 10, "CR1", ""),
    ("XRCHEST", "X-ray chest, 2 views", "DX", 10, "DX1", ""),
    ("MGSCREEN", "Screening mammography", "MG", 15, "MG1", "No deodorant on the day"),
)

# The codes of the procedures that use a contrast agent, and of those that ask for pregnancy.
CONTRAST = frozenset({"CTCHEST", "CTABDO", "CTPOLY"})
PREGNANCY = frozenset({"CTHEAD", "CTCHEST", "CTABDO", "CTPOLY", "XRHAND", "XRCHEST", "MGSCREEN"})

# Code, name, and the codes of its procedures.
ORDER_SETS = (
    ("POLYTRAUMA", "Polytrauma", ("CTPOLY", "XRCHEST", "USABDO")),
    ("BACKPAIN", "Back pain", ("XRCHEST", "MRLSPINE")),
)

# Patient ID, name, birth date, sex, and what is known besides.
PATIENTS: tuple[tuple[str, str, dt.date, str, dict[str, str]], ...] = (
    ("D1001", "Müller^Anna", dt.date(1962, 3, 14), "F", {"allergies": "Iodine\\Penicillin"}),
    ("D1002", "Yamada^Tarou=山田^太郎=やまだ^たろう", dt.date(1975, 11, 2), "M", {}),
    ("D1003", "Wang^XiaoDong=王^小东", dt.date(1988, 6, 30), "M", {"weight": "71.5"}),
    ("D1004", "Иванов^Сергей", dt.date(1954, 1, 9), "M", {"medical_alerts": "Pacemaker"}),
    ("D1005", "Hong^Gildong=洪^吉洞=홍^길동", dt.date(1990, 8, 21), "M", {}),
    ("D1006", "O'Brien^Mary^Kate^Dr.", dt.date(1947, 12, 1), "F", {"special_needs": "Wheelchair"}),
    ("D1007", "Łukasiewicz^Jan", dt.date(1981, 4, 17), "M", {}),
    ("D1008", "Παπαδοπούλου^Ελένη", dt.date(1969, 9, 5), "F", {}),
    ("D1009", "Buc^Jérôme", dt.date(2001, 2, 28), "M", {"size": "1.82", "weight": "80"}),
    ("D1010", "García Márquez^Lucía", dt.date(1993, 7, 7), "F", {"comments": "Speaks Spanish"}),
    ("D1011", "Åkesson^Björn", dt.date(1938, 10, 19), "M", {"other_ids": "S-38-4711"}),
    ("D1012", "Smith^John^^Mr.^Jr", dt.date(2016, 5, 25), "M", {"responsible_person": "Smith^Eve"}),
)

# Start, patient, procedure, station ("" is the procedure's own), status, priority.
TODAY = (
    ("07:30", "D1006", "CTCHEST", "", "COMPLETED", "ROUTINE"),
    ("07:45", "D1012", "XRHAND", "", "COMPLETED", "ROUTINE"),
    ("08:00", "D1001", "CTABDO", "", "STARTED", "ROUTINE"),
    ("08:00", "D1004", "XRCHEST", "", "DISCONTINUED", "ROUTINE"),
    ("08:15", "D1002", "MRBRAIN", "", "STARTED", "ROUTINE"),
    ("08:30", "D1010", "MGSCREEN", "", "ARRIVED", "ROUTINE"),
    ("08:30", "D1007", "CTHEAD", "", "ARRIVED", "STAT"),
    ("08:45", "D1003", "USABDO", "", "READY", "ROUTINE"),
    ("09:00", "D1005", "MRKNEE", "", "ARRIVED", "ROUTINE"),
    ("09:00", "D1011", "CTPOLY", "", "SCHEDULED", "STAT"),
    ("09:15", "D1008", "MRLSPINE", "", "SCHEDULED", "ROUTINE"),
    ("09:30", "D1009", "XRHAND", "", "SCHEDULED", "HIGH"),
    ("09:45", "D1004", "CTHEAD", "", "SCHEDULED", "ROUTINE"),
    ("10:00", "D1002", "CTCHEST", "CT2", "SCHEDULED", "ROUTINE"),
    ("10:15", "D1008", "USTHYRO", "", "SCHEDULED", "ROUTINE"),
    ("10:30", "D1003", "CTABDO", "", "SCHEDULED", "ROUTINE"),
    ("11:00", "D1011", "XRCHEST", "", "SCHEDULED", "ROUTINE"),
    ("11:30", "D1009", "MRKNEE", "MR2", "SCHEDULED", "ROUTINE"),
    ("12:00", "D1006", "USABDO", "", "CANCELED", "ROUTINE"),
    ("13:00", "D1010", "CTCHEST", "", "SCHEDULED", "ROUTINE"),
    ("13:30", "D1005", "MRBRAIN", "MR2", "SCHEDULED", "ROUTINE"),
    ("14:00", "D1001", "XRCHEST", "", "SCHEDULED", "ROUTINE"),
    ("14:30", "D1007", "MRLSPINE", "", "SCHEDULED", "ROUTINE"),
    ("15:00", "D1008", "MGSCREEN", "", "SCHEDULED", "ROUTINE"),
    ("16:00", "D1012", "CTHEAD", "", "SCHEDULED", "HIGH"),
)
TOMORROW = (
    ("08:00", "D1009", "CTABDO", "", "SCHEDULED", "ROUTINE"),
    ("08:30", "D1001", "MRBRAIN", "", "SCHEDULED", "ROUTINE"),
    ("09:00", "D1004", "USABDO", "", "SCHEDULED", "ROUTINE"),
    ("10:00", "D1007", "XRCHEST", "", "SCHEDULED", "ROUTINE"),
)

# Username, first name, last name, role; the password is the name and "-demo".
ACCOUNTS = (
    ("clerk", "Ines", "Clerk", "Clerk"),
    ("technologist", "Tom", "Technologist", "Technologist"),
    ("supervisor", "Sue", "Supervisor", "Supervisor"),
    ("auditor", "Aldo", "Auditor", "Auditor"),
    ("admin", "Ada", "Admin", "Administrator"),
)
