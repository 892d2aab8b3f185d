"""Specific Character Set: what goes out comes back, and nothing else does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.charset import convert_encodings
from pydicom.valuerep import PersonName

from worklist import character_set

KANJI = "Yamada^Tarou=山田^太郎=やまだ^たろう"
HANGUL = "Hong^Gildong=洪^吉洞=홍^길동"
HANZI = "Wang^XiaoDong=王^小东"

FITTING = [
    (("ISO_IR 100",), "Müller^Anna"),
    (("ISO_IR 101",), "Łukasiewicz^Jan"),
    (("ISO_IR 109",), "Ĉu^Ĝis"),
    (("ISO_IR 110",), "Āboliņš^Jānis"),
    (("ISO_IR 144",), "Люкceмбypг"),
    (("ISO_IR 127",), "قباني^لنزار"),
    (("ISO_IR 126",), "Διονυσιος"),
    (("ISO_IR 138",), "שרון^דבורה"),
    (("ISO_IR 148",), "Çavuşoğlu"),
    (("ISO_IR 166",), "สมชาย^ใจดี"),
    (("ISO_IR 13",), "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    (("ISO_IR 192",), KANJI),
    (("GB18030",), HANZI),
    (("GBK",), "乗^俓"),
    (("", "ISO 2022 IR 87"), KANJI),
    (("ISO 2022 IR 13", "ISO 2022 IR 87"), "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
    (("", "ISO 2022 IR 159"), "丂^丄"),
    (("", "ISO 2022 IR 149"), HANGUL),
    (("", "ISO 2022 IR 58"), HANZI),
    (("ISO 2022 IR 6", "ISO 2022 IR 100"), "Müller^Ä"),
    (("ISO 2022 IR 100", "ISO 2022 IR 144"), "Müller^Иван"),
    # Several sets in one run of letters.
    (("ISO 2022 IR 13", "ISO 2022 IR 87"), "X=ﾔﾏ山田"),
    (("ISO 2022 IR 13", "ISO 2022 IR 87"), "X=山田ﾔﾏ山"),
    (("ISO 2022 IR 100", "ISO 2022 IR 144"), "Жé"),
    (("ISO 2022 IR 100", "ISO 2022 IR 144"), "éЖéaЖéé"),
    (("ISO 2022 IR 100", "ISO 2022 IR 87"), "é山é山a山é"),
    (("", "ISO 2022 IR 87", "ISO 2022 IR 159"), "山丂山"),
    (("", "ISO 2022 IR 149", "ISO 2022 IR 58"), "홍东길"),
]


@pytest.mark.parametrize(("terms", "name"), FITTING)
@pytest.mark.parametrize("vr", ["PN", "LO"])
def test_text_comes_back_from_its_set(terms: tuple[str, ...], name: str, vr: str) -> None:
    assert character_set.decode(character_set.encode(name, terms, vr), terms, vr) == name


@pytest.mark.parametrize(("terms", "name"), [f for f in FITTING if "ISO 2022 IR 58" not in f[0]])
def test_pydicom_reads_what_we_write(terms: tuple[str, ...], name: str) -> None:
    encoded = character_set.encode(name, terms, "PN")
    assert str(PersonName(encoded, convert_encodings(list(terms)))) == name


def test_gb2312_is_written_as_in_annex_k_of_the_standard() -> None:
    # PS3.5 K.2: each component that needs it starts with the escape sequence.
    encoded = character_set.encode("Zhang^XiaoDong=张^小东=", ("", "ISO 2022 IR 58"), "PN")
    assert encoded == b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab="


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ((), "Müller"),
        (("ISO_IR 100",), "Łukasz"),
        (("ISO_IR 13",), "山田"),
        (("ISO_IR 13",), "Müller"),
        (("", "ISO 2022 IR 87"), "Müller"),
        (("", "ISO 2022 IR 58"), "홍"),
        (("GBK",), "😀"),
        (("NO SUCH SET",), "Müller"),
        (("ISO_IR 192", "ISO 2022 IR 87"), "Müller"),
    ],
)
def test_what_a_set_lacks_does_not_fit(terms: tuple[str, ...], text: str) -> None:
    assert not character_set.fits(text, terms, "PN")
    with pytest.raises(ValueError):
        character_set.encode(text, terms, "PN")


def test_ascii_fits_everywhere_even_where_the_set_is_unknown() -> None:
    assert character_set.encode("Doe^Jane", ("NO SUCH SET",), "PN") == b"Doe^Jane"


@pytest.mark.parametrize(
    ("terms", "codec", "name"),
    [
        (("", "ISO 2022 IR 58"), "gb2312", "Zhang^XiaoDong=张^小东"),
        # Its bytes are those of a combining mark in UTF-8.
        (("", "ISO 2022 IR 58"), "gb2312", "谭"),
        (("ISO 2022 IR 6", "ISO 2022 IR 149"), "euc_kr", "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_bytes_of_the_one_declared_extension_need_no_escape(
    terms: tuple[str, ...], codec: str, name: str
) -> None:
    assert character_set.decode(name.encode(codec), terms, "PN") == name


def test_what_no_escape_announces_may_still_be_utf_8_or_is_refused() -> None:
    chinese, both = ("", "ISO 2022 IR 58"), ("", "ISO 2022 IR 149", "ISO 2022 IR 58")
    assert character_set.decode("张".encode(), chinese, "PN") == "张"
    for terms in (both, ("", "ISO 2022 IR 87"), ()):
        with pytest.raises(ValueError):
            character_set.decode("张东".encode("gb2312"), terms, "PN")


def test_ascii_called_back_leaves_the_other_half_alone() -> None:
    terms = ("ISO 2022 IR 100", "ISO 2022 IR 144")
    encoded = b"\x1b-L" + "Ж".encode("iso8859_5") + b"\x1b(B" + "ж".encode("iso8859_5") + b"^\xe9"
    assert character_set.decode(encoded, terms, "PN") == "Жж^é"


def test_a_backslash_byte_inside_a_character_separates_nothing() -> None:
    assert character_set.decode(b"\x81\\^\x82\\", ("GB18030",), "PN") == "乗^俓"


def test_undeclared_bytes_are_read_as_utf_8_or_refused() -> None:
    assert character_set.decode("Müller".encode(), (), "PN") == "Müller"
    with pytest.raises(ValueError):
        character_set.decode("Müller".encode("latin-1"), (), "PN")


@pytest.mark.parametrize(
    ("encoded", "terms"),
    [
        (b"\xff\xfe", ("ISO_IR 192",)),
        (b"\x1b$B;3", ("", "ISO 2022 IR 149")),
        (b"\x1bXabc", ("", "ISO 2022 IR 87")),
        ("Müller".encode("latin-1"), ("NO SUCH SET",)),
    ],
)
def test_bytes_that_are_no_text_are_refused(encoded: bytes, terms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError):
        character_set.decode(encoded, terms, "PN")


def test_the_default_repertoire_has_several_spellings() -> None:
    assert character_set.read(b"") == ()
    assert character_set.read(b"ISO_IR 6") == ()
    assert character_set.read(b"ISO_IR 192\\") == ("ISO_IR 192",)
    assert character_set.read(b"ISO_IR 100\\ \\") == ("ISO_IR 100",)
    assert character_set.read(b"\\ISO 2022 IR 87 \\") == ("", "ISO 2022 IR 87")
    assert character_set.read(b"\\") == ()
    assert character_set.read(b"ISO 2022 IR 6\\ISO 2022 IR 87 ") == (
        "ISO 2022 IR 6",
        "ISO 2022 IR 87",
    )


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30))
def test_unicode_holds_every_text(text: str) -> None:
    assert (
        character_set.decode(character_set.encode(text, ("ISO_IR 192",)), ("ISO_IR 192",)) == text
    )


@given(
    st.sampled_from([terms for terms, _ in FITTING]),
    st.text(st.sampled_from("aZ ^=Müł山太やホﾎ王东홍洪ИΔش"), max_size=12),
    st.sampled_from(["PN", "LO"]),
)
def test_what_fits_comes_back(terms: tuple[str, ...], text: str, vr: str) -> None:
    if character_set.fits(text, terms, vr):
        encoded = character_set.encode(text, terms, vr)
        assert character_set.decode(encoded, terms, vr) == text


@pytest.mark.parametrize("term", ["ISO 2022 GBK", "ISO 2022 58"])
def test_a_set_that_no_escape_sequence_calls_does_not_stand_behind_another(term: str) -> None:
    """pydicom knows these terms, and PS3.3 C.12.1.1.2 does not."""
    assert not character_set.is_supported(("", term))
    assert not character_set.fits("谭", ("", term))
    assert character_set.encode("Tan", ("", term)) == b"Tan"
    with pytest.raises(ValueError, match="only ASCII fits"):
        character_set.encode("谭", ("", term))
