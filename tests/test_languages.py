from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from django.utils import translation

from tests.literals import in_python, in_template
from tests.tools import needs

ROOT = Path(__file__).resolve().parent.parent
LOCALE = Path("locale/de/LC_MESSAGES")
GERMAN = ROOT / LOCALE / "django.po"

# Where English is spoken on purpose.
ENGLISH_ALONE = {
    "worklist/admin/": "pages of Django's for those who set the product up",
    "worklist/checks.py": "for operators, on the console",
    "worklist/demo.py": "for operators, on the console",
    "worklist/management/": "for operators, on the console",
    "worklist/migrations/": "rows and states of long ago",
    "worklist/audit/migrations/": "rows and states of long ago",
    "worklist/settings.py": "no page of its own",
}


# --- templates ------------------------------------------------------------------------------------


def test_every_word_of_the_templates_is_translated() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "templates").rglob("*"))
        if path.suffix in (".html", ".txt", ".svg")
        for line, text in in_template(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "template",
    [
        "<p>Hello</p>",
        "<p>\n  {{ name }} is late\n</p>",
        "{% if x %}late{% endif %}",
        "<button title='Close it'>×</button>",
        '<img alt="Logo">',
        '<input placeholder="Search">',
        '<input type="submit" value="Send">',
        '<p aria-label="{% trans "Main" %} menu"></p>',
        '<div data-lost="Not connected"></div>',
        "<p>{{ x|yesno:'open,closed' }}</p>",
        '<p title="{{ x|default:"none" }}"></p>',
        "{% trans 'Yes' %} or {% trans 'no' %}",
        "<code>x</code> stands for",
        "<p>a {{ x }}</p>",
    ],
)
def test_a_planted_literal_is_found(template: str) -> None:
    assert in_template(template) != []


@pytest.mark.parametrize(
    "template",
    [
        "<p>{% trans 'Hello' %}</p>",
        "{% blocktrans count n=n %}{{ n }} exam{% plural %}{{ n }} exams{% endblocktrans %}",
        "<p>{{ name }} · {{ id }} – 12:30 (×)</p>",
        '<button value="{{ code }}" class="small" name="language">▾</button>',
        '<input type="hidden" value="next">',
        '<p aria-label="{% trans "Main" %}" data-key="n" data-once></p>',
        "<kbd>N</kbd><code>clerk-demo</code>",
        "{# a comment #}{% comment %}of several lines{% endcomment %}",
        "<p class=\"{{ level|default:'info' }}\">{{ x|default:'–' }}</p>",
        "<style>p { color: red }</style>",
        '{% url "today" as u %}<a href="{{ u }}?day={{ d|date:\'Y-m-d\' }}">1</a>',
    ],
)
def test_what_no_translator_needs_passes(template: str) -> None:
    assert in_template(template) == []


# --- Python ---------------------------------------------------------------------------------------


def test_every_word_that_python_says_to_people_is_translated() -> None:
    found = [
        f"{name}:{line}: {text}"
        for path in sorted((ROOT / "worklist").rglob("*.py"))
        for name in [path.relative_to(ROOT).as_posix()]
        if not name.startswith(tuple(ENGLISH_ALONE))
        for line, text in in_python(path.read_text("utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "raise ValidationError('Wrong.')",
        "raise ValidationError(f'{x} is wrong')",
        "raise ValidationError('%s is wrong' % x)",
        "raise ValidationError({'name': ['Wrong.']})",
        "raise values.TextError('%(x)s is wrong', x=1)",
        "form.add_error('name', 'Wrong.')",
        "form.add_error(None, _('Wrong: ') + 'very')",
        "messages.success(request, 'Saved.')",
        "notices.done(request, 'Saved.' if x else _('Kept.'))",
        "forms.CharField(label='Name')",
        "models.CharField(verbose_name='name', help_text=_('x'))",
        "class A:\n    help_texts = {'name': 'What it is'}",
        "class S(models.TextChoices):\n    A = 'A', 'Arrived'",
        "Place('today', 'Today', 'x')",
    ],
)
def test_a_planted_literal_of_python_is_found(source: str) -> None:
    assert in_python(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "raise ValidationError(_('Wrong.'))",
        "raise ValidationError(gettext(error.sentence), params=error.details)",
        "raise ValueError('for programmers')",
        "notices.done(request, _('%(n)s is saved.') % {'n': 'x'})",
        "logger.info('C-FIND ae=%s', ae)",
        "logger.error('it failed', 'again')",
        "forms.CharField(label='–', help_text='')",
        "models.CharField(help_text='kg')",
        "found.update({'a': 'b'})",
        "trail.note('export', by=by, label='catalogue')",
    ],
)
def test_what_python_says_to_nobody_passes(source: str) -> None:
    assert in_python(source) == []


def test_every_text_error_is_marked_for_the_translators() -> None:
    source = (ROOT / "worklist/values.py").read_text("utf-8")
    assert "raise ValueError(" not in source
    assert len(re.findall(r"raise TextError\(", source)) >= 15


# --- German ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The German catalogue with every message that the sources hold now, in a copy of ours."""
    assert GERMAN.is_file()
    copy = tmp_path_factory.mktemp("languages")
    for name in ("worklist", "dicomscp", "templates", "locale"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", copy)
    shutil.copy(ROOT / "bootstrap.py", copy)
    command = [sys.executable, "-m", "django", "makemessages", "--locale=de", "--no-obsolete"]
    # The settings of the copy, whose catalogue is beside them.
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "worklist.settings"}
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return copy / LOCALE / "django.po"


def chosen(catalogue: Path, *options: str) -> list[str]:
    """The messages that msgattrib chooses of the catalogue."""
    command = ["msgattrib", *options, "--no-obsolete", "--no-wrap", str(catalogue)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if line.startswith("msgid ") and line != 'msgid ""']


def test_german_is_there() -> None:
    missing = [path for path in (GERMAN, GERMAN.with_suffix(".mo")) if not path.is_file()]
    assert missing == [], "make messages, translate, make lang"


@needs("gettext")
def test_german_lacks_nothing_and_guesses_nothing(collected: Path) -> None:
    assert chosen(collected, "--untranslated") == []
    assert chosen(collected, "--only-fuzzy") == []


@needs("gettext")
def test_german_is_compiled_from_what_is_there(tmp_path: Path, collected: Path) -> None:
    compiled = tmp_path / "django.mo"
    command = ["msgfmt", "--check", f"--output-file={compiled}", str(GERMAN)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert messages(GERMAN.with_suffix(".mo")) == messages(compiled), "make lang"


@needs("gettext")
def test_german_says_the_same_variables(collected: Path) -> None:
    placeholder = re.compile(r"%\(\w+\)[sd]|%[sd]")

    def differs(original: str, translated: str) -> bool:
        said, asked = (set(placeholder.findall(text)) for text in (translated, original))
        # Of a plural the catalogue keeps the singular alone, which may do without the number.
        return said - {"%(count)d", "%(count)s"} != asked - {"%(count)d", "%(count)s"}

    assert [
        original
        for original, translated in messages(GERMAN.with_suffix(".mo")).items()
        if original and differs(original, translated)
    ] == []


def messages(compiled: Path) -> dict[str, str]:
    """Each message and its translation; of plurals, each number's."""
    with compiled.open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    found = catalogue._catalog  # type: ignore[attr-defined]
    return {
        key if isinstance(key, str) else f"{key[0]} [{key[1]}]": value
        for key, value in found.items()
    }


@pytest.mark.parametrize(
    ("context", "english", "german"),
    [
        ("leave the form", "Cancel", "Abbrechen"),
        ("", "Cancel", "Stornieren"),
        ("for the exam", "Reason", "Fragestellung"),
        ("", "Reason", "Grund"),
        ("of the patient", "History", "Vorgeschichte"),
        ("", "History", "Verlauf"),
        ("sex", "Other", "Divers"),
        ("reason", "Other", "Anderer Grund"),
    ],
)
def test_words_of_two_meanings_are_two_words_in_german(
    context: str, english: str, german: str
) -> None:
    with translation.override("de"):
        said = translation.pgettext(context, english) if context else translation.gettext(english)
    assert said == german
