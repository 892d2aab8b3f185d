"""Names of people as a hospital's list holds them: most in Latin letters, some in other scripts."""

from __future__ import annotations

import random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FAMILIES = _words("""
    Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Schäfer Koch Bauer
    Richter Klein Wolf Schröder Neumann Schwarz Zimmermann Braun Krüger Hofmann Hartmann Lange
    Werner Krause Maier Köhler König Walter Huber Kaiser Fuchs Peters Lang Scholz Möller Weiß Jung
    Hahn Vogel Keller Günther Smith Jones Taylor Brown Williams Wilson Johnson Davies Robinson
    Wright Thompson Evans Walker White Roberts Green Hall Wood Jackson Clarke O'Brien Murphy Kelly
    Walsh Martin Bernard Dubois Thomas Robert Petit Durand Leroy Moreau Laurent García Fernández
    González Rodríguez López Martínez Sánchez Pérez Rossi Russo Ferrari Esposito Bianchi Romano
    Colombo Ricci Kowalski Nowak Wiśniewski Wójcik Łukasiewicz Zieliński Yılmaz Kaya Demir Şahin
    Çelik Öztürk Aydın Novák Svoboda Dvořák Černý Nagy Kovács Tóth Szabó Andersson Johansson
    Karlsson Åkesson Hansen Olsen Sørensen Nielsen Silva Santos Ferreira Pereira Popescu
""")
_GIVEN = _words("""
    Anna Maria Ursula Monika Petra Elisabeth Sabine Renate Helga Karin Brigitte Ingrid Erika Andrea
    Gisela Claudia Susanne Gabriele Christa Christine Hildegard Anja Barbara Peter Michael Thomas
    Andreas Wolfgang Claus Jürgen Günter Stefan Christian Uwe Werner Horst Frank Dieter Manfred
    Gerhard Hans Bernd Martin Emma Olivia Sophia Mia Léa Chloé Zoë Inês Lucía José Jesús François
    Benoît Élodie Noémie Giulia Matteo Luca Chiara Zofia Jakub Wojciech Małgorzata Ayşe Mehmet Emre
    Zeynep Jiří Tomáš Zsófia László Björn Åsa Søren Jan Pim Ruth Paul Grace James John Oliver Harry
    Charlotte Amelia Isla Jack George Noah Leo
""")
# Family and given names of one script; of three scripts, a group each.
_OTHERS = (
    (
        _words("Иванов Смирнов Кузнецов Попов Васильев Петров Соколов Михайлов Новиков Фёдоров"),
        _words("Сергей Андрей Дмитрий Алексей Иван Николай Павел Юрий Егор Фёдор"),
    ),
    (
        _words("Παπαδόπουλος Οικονόμου Γεωργίου Νικολάου Δημητρίου Βασιλείου"),
        _words("Ελένη Μαρία Γιώργος Δημήτρης Κώστας Αικατερίνη"),
    ),
    (
        _words("""
            Yamada=山田=やまだ Satou=佐藤=さとう Suzuki=鈴木=すずき Takahashi=高橋=たかはし
            Tanaka=田中=たなか Watanabe=渡辺=わたなべ Itou=伊藤=いとう Nakamura=中村=なかむら
        """),
        _words("""
            Tarou=太郎=たろう Hanako=花子=はなこ Kenji=健二=けんじ Yumi=由美=ゆみ Akira=明=あきら
            Sakura=桜=さくら
        """),
    ),
    (
        _words("Kim=金=김 Lee=李=이 Park=朴=박 Choi=崔=최 Hong=洪=홍"),
        _words("Gildong=吉洞=길동 Minjun=敏俊=민준 Seoyeon=瑞妍=서연 Jiwoo=智宇=지우"),
    ),
    (
        _words("Wang=王 Li=李 Zhang=张 Liu=刘 Chen=陈"),
        _words("XiaoDong=小东 Wei=伟 Fang=芳 Min=敏"),
    ),
)
_PREFIXES = ("", "", "", "", "Dr.", "Prof.")


def person_name(chance: random.Random) -> str:
    """A PN value: mostly Latin, one in ten in another script, some with more than two parts."""
    kind = chance.random()
    if kind < 0.9:
        family, given = chance.choice(_FAMILIES), chance.choice(_GIVEN)
        if kind < 0.25:
            return f"{family}^{given}^{chance.choice(_GIVEN)}"
        if kind < 0.3:
            return f"{family}-{chance.choice(_FAMILIES)}^{given}"
        return f"{family}^{given}"
    families, givens = chance.choice(_OTHERS)
    groups = zip(chance.choice(families).split("="), chance.choice(givens).split("="), strict=True)
    return "=".join("^".join(group) for group in groups)


def physicians(chance: random.Random, count: int) -> list[str]:
    """PN values of those who refer, order and perform."""
    names = (
        f"{chance.choice(_FAMILIES)}^{chance.choice(_GIVEN)}^^{chance.choice(_PREFIXES)}"
        for _ in range(count)
    )
    return [name.rstrip("^") for name in names]
