"""Words that no translator would see: in the sources of templates, and in those of Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser

Finding = tuple[int, str]

# --- templates ------------------------------------------------------------------------------------

# Attributes that people read or hear.
HUMAN = frozenset(
    {"title", "alt", "placeholder", "label", "summary", "abbr"}
    | {f"aria-{name}" for name in ("label", "description", "placeholder", "roledescription")}
    | {"aria-valuetext", "aria-braillelabel"}
)
# What stands in these is typed or pressed, not read: names of accounts, keys, columns.
_NOT_WORDS = frozenset({"script", "style", "code", "kbd", "samp"})
_TRANSLATED = re.compile(
    r"\{%-?\s*blocktrans(?:late)?\b.*?%\}.*?\{%\s*endblocktrans(?:late)?\s*%\}"
    r"|\{%\s*trans(?:late)?\s.*?%\}"
    # The frame's classes of an element, filled in far away from it.
    r"|\{%\s*block\s+body_class\s*%\}.*?\{%\s*endblock.*?%\}"
    r"|\{%\s*comment\b.*?%\}.*?\{%\s*endcomment\s*%\}"
    r"|\{#.*?#\}",
    re.DOTALL,
)
_TAG = re.compile(r"\{%.*?%\}", re.DOTALL)
_VARIABLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
# A filter that may put words of its own into the page.
_SPEAKING_FILTER = re.compile(
    r"""\|\s*(?:default|default_if_none|yesno|pluralize|add|join)\s*:\s*(?:"([^"]*)"|'([^']*)')"""
)
_LETTERS = re.compile(r"[^\W\d_]{2,}|[^\W\d_]\s|\b[^\W\d_]\b")
_SENTENCE = re.compile(r"[^\W\d_]\s+[^\W\d_]")


def in_template(source: str) -> list[Finding]:
    """Line and text of each literal that people would see."""
    reader = _Reader()
    reader.feed(_without_template_language(source))
    reader.close()
    return reader.found


def _without_template_language(source: str) -> str:
    """The template as mark-up alone, its lines where they were.

    What is translated is gone, what a filter says of its own stays.
    """

    def blank(match: re.Match[str]) -> str:
        return "\n" * match.group().count("\n")

    def spoken(match: re.Match[str]) -> str:
        words = [one or other for one, other in _SPEAKING_FILTER.findall(match.group(1))]
        return " ".join(words) + blank(match)

    source = _TRANSLATED.sub(blank, source)
    return _VARIABLE.sub(spoken, _TAG.sub(blank, source))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[Finding] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag in _NOT_WORDS:
            self.silent += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        shown = values.get("type") in ("submit", "button", "reset") and tag == "input"
        for name, value in values.items():
            is_read = name in HUMAN or (name == "value" and shown)
            # Scripts take their words from attributes of this kind.
            is_read = is_read or (name.startswith("data-") and bool(_SENTENCE.search(value)))
            if is_read and _LETTERS.search(value):
                self.found.append((self.getpos()[0], f'{name}="{value}"'))

    def handle_endtag(self, tag: str) -> None:
        if tag in _NOT_WORDS:
            self.silent = max(0, self.silent - 1)

    def handle_data(self, data: str) -> None:
        if not self.silent and _LETTERS.search(data):
            self.found.append((self.getpos()[0], data.strip()))


# --- Python ---------------------------------------------------------------------------------------

# What people read of these calls: by position or by name.
_SPEAKING_CALLS = {
    "ValidationError": (0, "message"),
    "PermissionDenied": (0, ""),
    "TextError": (0, "sentence"),
    "SheetError": (0, ""),
    "add_error": (1, "error"),
    "done": (1, "text"),
    "failed": (1, "text"),
    "success": (1, "message"),
    "info": (1, "message"),
    "warning": (1, "message"),
    "error": (1, "message"),
    "Place": (1, "label"),
}
_LOGS = ("logger", "logging", "log")
_SPEAKING_KEYWORDS = frozenset(
    {
        "label",
        "help_text",
        "verbose_name",
        "verbose_name_plural",
        "violation_error_message",
        "empty_label",
        "error_messages",
        "labels",
        "help_texts",
        "list_labels",
        "label_suffix",
    }
)
# Signs that are the same in every language.
_SIGNS = frozenset({"kg", "m"})


def in_python(source: str) -> list[Finding]:
    """Line and text of each literal that people would see, and that no gettext has seen."""
    found = []
    for expression in _spoken(ast.parse(source)):
        found += [
            (one.lineno, ast.unparse(one)) for one in _literals(expression) if _has_words(one)
        ]
    return found


def _spoken(tree: ast.AST) -> Iterator[ast.expr]:
    """The expressions whose values people read."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield from _said_by(node)
            # A message for the log may have any name; a row's label is not one of the screen's.
            if _name(node.func) not in ("note", "QueryDict"):
                yield from (k.value for k in node.keywords if k.arg in _SPEAKING_KEYWORDS)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            # A plain `label` is that of an app or of a value of ours.
            if any(_name(target) in _SPEAKING_KEYWORDS - {"label"} for target in targets):
                yield node.value
        elif isinstance(node, ast.ClassDef) and any(
            "Choices" in ast.unparse(base) for base in node.bases
        ):
            yield from (
                each.value.elts[-1]
                for each in node.body
                if isinstance(each, ast.Assign) and isinstance(each.value, ast.Tuple)
            )


def _said_by(call: ast.Call) -> Iterator[ast.expr]:
    name = _name(call.func)
    if name not in _SPEAKING_CALLS:
        return
    if isinstance(call.func, ast.Attribute) and _name(call.func.value) in _LOGS:
        return
    position, keyword = _SPEAKING_CALLS[name]
    if len(call.args) > position:
        yield call.args[position]
    yield from (k.value for k in call.keywords if k.arg == keyword)


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _literals(node: ast.expr) -> Iterator[ast.expr]:
    """The literals that the expression may come to; what stands in a call has been seen there."""
    if isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    ):
        yield node
    elif isinstance(node, ast.BinOp):
        yield from _literals(node.left)
        if isinstance(node.op, ast.Add):
            yield from _literals(node.right)
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.List | ast.Tuple | ast.Set):
        for each in node.elts:
            yield from _literals(each)
    elif isinstance(node, ast.Dict):
        for value in node.values:
            yield from _literals(value)


def _has_words(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return any(_has_words(part) for part in node.values if isinstance(part, ast.Constant))
    text = str(node.value) if isinstance(node, ast.Constant) else ""
    return bool(_LETTERS.search(text)) and text not in _SIGNS
