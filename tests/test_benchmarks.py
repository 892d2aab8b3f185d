from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.web.browser import forms
from tests.tools import needs

ROOT = Path(__file__).resolve().parent.parent

PAGE = """
<form action="/search/"><input name="q"></form>
<form method="post" action="/exams/new/">
  <input type="hidden" name="csrfmiddlewaretoken" value="t">
  <input name="time" value="08:00"><input type="checkbox" name="no"><input type="file" name="f">
  <input type="checkbox" name="yes" checked value="1">
  <input type="radio" name="urgency" value="STAT"><input type="radio" name="urgency" value="ROUTINE" checked>
  <select name="station"><option value="">–</option><option value="3" selected>CT</option></select>
  <select name="exam"><option value="">–</option><option value="7">CT head</option></select>
  <textarea name="reason">why</textarea><button name="save" value="1">Save</button>
</form>
"""  # noqa: E501


def test_form_is_sent_as_a_browser_would_send_it() -> None:
    form = forms(PAGE)[0]
    assert (form.method, form.action) == ("post", "/exams/new/")
    assert form.filled({"exam": "7", "time": "09:00"}) == [
        ("csrfmiddlewaretoken", "t"),
        ("yes", "1"),
        ("urgency", "ROUTINE"),
        ("station", "3"),
        ("reason", "why"),
        ("exam", "7"),
        ("time", "09:00"),
    ]
    assert form.options["exam"] == ["", "7"]


@needs("postgres")
def test_a_small_run_measures_and_ends_with_one_line_of_json() -> None:
    sizes = ("--steps", "300", "--today", "30", "--patients", "100", "--requests", "3")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.web", *sizes],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {
        label: result.get("note") for label, result in told["results"].items()
    } == dict.fromkeys(("frame alone", "board", "board, unchanged", "patient lookup", "booking"))
