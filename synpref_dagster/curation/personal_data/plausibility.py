"""What tells personal data from strings that only look like them: check digits and known dummies.

Every check takes the text that a pattern matched and says whether a person could be behind it.
Numbers of documentation, tests and films are left out, as are addresses that belong to an office.
"""

import ipaddress
import math
from collections import Counter
from itertools import pairwise

# Lengths and leading digits of the card schemes in use (ISO/IEC 7812 issuer ranges).
CARD_SCHEMES: tuple[tuple[int, int, tuple[int, ...]], ...] = (
    (4, 4, (16, 19)),  # Visa
    (51, 55, (16,)),  # Mastercard
    (2221, 2720, (16,)),  # Mastercard
    (34, 34, (15,)),  # American Express
    (37, 37, (15,)),
    (6011, 6011, (16,)),  # Discover
    (644, 659, (16,)),
    (300, 305, (14,)),  # Diners Club
    (36, 36, (14,)),
    (38, 39, (14,)),
    (3528, 3589, (16,)),  # JCB
    (62, 62, (16, 17, 18, 19)),  # UnionPay
)
TEST_CARDS = frozenset(
    {
        "4111111111111111",
        "4242424242424242",
        "4012888888881881",
        "4000056655665556",
        "5555555555554444",
        "5105105105105100",
        "5200828282828210",
        "2223003122003222",
        "378282246310005",
        "371449635398431",
        "6011111111111117",
        "6011000990139424",
        "30569309025904",
        "38520000023237",
        "3530111333300000",
        "3566002020360505",
    }
)
DOCUMENTED_IBANS = frozenset(
    {
        "AT611904300234573201",
        "BE68539007547034",
        "CH9300762011623852957",
        "DE89370400440532013000",
        "ES9121000418450200051332",
        "FR1420041010050500013M02606",
        "GB29NWBK60161331926819",
        "GB33BUKB20201555555555",
        "GB82WEST12345698765432",
        "GB94BARC10201530093459",
        "IT60X0542811101000000123456",
        "MT84MALT011000012345MTLCAST001S",
        "NL91ABNA0417164300",
    }
)
# Names of an office or a machine, and domains that nobody owns (RFC 2606) or that stand for one.
_OFFICE_NAMES = (
    "abuse admin billing careers contact customerservice donotreply editor enquiries feedback "
    "git hello help hr info inquiries jobs mail mailer-daemon marketing media news newsletter "
    "no-reply noreply office orders postmaster press privacy recruiting root sales security "
    "service support team user username webmaster you your-email youremail your_email yourname"
)
OFFICE_NAMES = frozenset(_OFFICE_NAMES.split())
_PLACEHOLDER_DOMAINS = (
    "example domain yourdomain mydomain your-domain company yourcompany mycompany acme test "
    "testing sample email placeholder website yourwebsite foo bar abc xyz"
)
PLACEHOLDER_DOMAINS = frozenset(_PLACEHOLDER_DOMAINS.split())
RESERVED_TOP_LEVELS = frozenset({"example", "invalid", "test", "local", "localhost", "internal"})
_FILE_ENDINGS = (
    "bmp css csv gif html ico jpeg jpg js json jsx md mp3 mp4 pdf php png py scss svg ts tsx "
    "txt vue webp xml yaml yml zip"
)
FILE_ENDINGS = frozenset(_FILE_ENDINGS.split())
MAX_RUN = 5
"""A number with more than so many equal digits in a row, or counting up, was made up."""
MIN_SECRET_BITS = 3.0
"""Entropy per character of a key that was drawn at random; "xxxx" and "your-key-here" have less."""
FICTIONAL_EXCHANGE = "555"


def digits_of(text: str) -> str:
    """The ASCII digits of a text, in order."""
    return "".join(letter for letter in text if letter in "0123456789")


def is_card_number(text: str) -> bool:
    """A payment card: a scheme's leading digits and length, the check digit, no test number.

    >>> is_card_number("4929 1234 5678 9012"), is_card_number("4242 4242 4242 4242")
    (False, False)
    """
    from stdnum import luhn

    digits = digits_of(text)
    if not any(
        low <= int(digits[: len(str(low))]) <= high and len(digits) in lengths
        for low, high, lengths in CARD_SCHEMES
    ):
        return False
    return luhn.is_valid(digits) and digits not in TEST_CARDS and not looks_made_up(digits)


def is_iban(text: str) -> bool:
    """An account: its country's structure, the check digits (ISO 7064 mod 97), no known example.

    >>> is_iban("DE89 3704 0044 0532 0130 01")
    False
    """
    from stdnum import iban

    # A country's own check digits, besides, are not asked for: a scan rather finds too much.
    is_sound = iban.is_valid(text, check_country=False)
    return is_sound and text.replace(" ", "") not in DOCUMENTED_IBANS


def is_public_address(text: str) -> bool:
    """An IP address out on the internet that is no version number and no well-known server.

    Four single digits (8.8.8.8, 1.0.2.0) are a resolver or a version.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (
        address.is_global and not address.is_multicast and (address.version == 6 or len(text) > 7)
    )


def is_social_security_number(text: str) -> bool:
    """A US number whose area, group and serial were ever issued, and no published dummy.

    >>> is_social_security_number("536-22-8145"), is_social_security_number("666-22-8145")
    (True, False)
    """
    from stdnum.us import ssn

    return ssn.is_valid(text) and not looks_made_up(digits_of(text))


def is_phone_number(text: str) -> bool:
    """A number somebody could answer: 7 to 15 digits (E.164), not made up, not a company's line.

    With a country's code, the numbering plan of that country decides.
    """
    digits = digits_of(text)
    if not 7 <= len(digits) <= 15 or looks_made_up(digits):
        return False
    if text.lstrip("(").startswith("+"):
        return _is_in_use(f"+{digits}")
    if len(digits) == 11 and digits[0] == "1":
        return is_american_number(digits)
    return not (len(digits) == 7 and digits.startswith(FICTIONAL_EXCHANGE))


def is_american_number(text: str) -> bool:
    """Ten digits of the North American plan, in use, not made up, not for film or company."""
    digits = digits_of(text)[-10:]
    return not looks_made_up(digits) and _is_in_use(f"+1{digits}")


def _is_in_use(number: str) -> bool:
    """Whether its country's plan gives that range to persons; `number` is in E.164 form."""
    from phonenumbers import NumberParseException, PhoneNumberType, number_type, parse

    try:
        kind = number_type(parse(number))
    except NumberParseException:
        return False
    companies = (PhoneNumberType.TOLL_FREE, PhoneNumberType.PREMIUM_RATE, PhoneNumberType.UAN)
    is_fiction = number.startswith("+1") and number[5:8] == FICTIONAL_EXCHANGE
    return kind not in (*companies, PhoneNumberType.UNKNOWN) and not is_fiction


def is_personal_email(text: str) -> bool:
    """An address that may be one person's: no office, no placeholder, no file name with an @.

    >>> is_personal_email("ann.lee@posteo.de"), is_personal_email("ann@example.com")
    (True, False)
    """
    name, _, domain = text.lower().rpartition("@")
    labels = domain.split(".")
    if not name or len(name) > 64 or ".." in text or name[0] in ".-" or name[-1] == ".":
        return False
    return not (
        labels[-1] in RESERVED_TOP_LEVELS
        or labels[-1] in FILE_ENDINGS
        or labels[-2] in PLACEHOLDER_DOMAINS
        or name in OFFICE_NAMES
    )


def looks_random(text: str) -> bool:
    """Whether a key's characters vary as those of a random one do, digits among them.

    >>> looks_random("xxxxxxxxxxxxxxxxxxxx"), looks_random("q7Zr0bTn4Kc9wYd2LmXe")
    (False, True)
    """
    return varies(text) and any(map(str.isdigit, text))


def varies(text: str) -> bool:
    """Whether a key's characters vary as those of a random one do; "example" in it says no."""
    counts = Counter(text)
    bits = -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())
    return bits >= MIN_SECRET_BITS and "example" not in text.lower()


def looks_made_up(digits: str) -> bool:
    """More than `MAX_RUN` equal digits in a row, or all of them counting up or down.

    >>> looks_made_up("1234567890"), looks_made_up("4000000000"), looks_made_up("4157302918")
    (True, True, False)
    """
    run = longest = 1
    for before, after in pairwise(digits):
        run = run + 1 if before == after else 1
        longest = max(longest, run)
    steps = {(int(after) - int(before)) % 10 for before, after in pairwise(digits)}
    return longest > MAX_RUN or steps in ({1}, {9})
