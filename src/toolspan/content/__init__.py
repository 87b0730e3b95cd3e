"""What of arguments and results may be written: their size, a fingerprint, their text.

No code of the host runs here, but for a custom redactor. Values are told apart by their exact
type, subclasses of built-in types are read through the built-in, and of objects only what is
physically stored in them. A metaclass may define `==` and `hash()`: so types are compared with
`is`, one after the other, and never looked up.
"""

from toolspan.content.measures import fingerprint, measure, size_of
from toolspan.content.redaction import SECRET_PARTS, SECRET_WORDS, Redactor, rules_of
from toolspan.content.rendering import render, render_entry, stored
from toolspan.content.text import bytes_of

__all__ = [
    "SECRET_PARTS",
    "SECRET_WORDS",
    "Redactor",
    "bytes_of",
    "fingerprint",
    "measure",
    "render",
    "render_entry",
    "rules_of",
    "size_of",
    "stored",
]
