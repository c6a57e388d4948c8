"""XML from strangers: metadata of products, and VRTs."""

from __future__ import annotations

from xml.etree import ElementTree as ET


class MarkupError(ValueError):
    """Not XML, or XML with a document type of its own."""


class _Builder(ET.TreeBuilder):
    # The only way to entities, which can stand for other files or grow without bounds. No product has one.
    def doctype(self, name: str, _public: str, _system: str) -> None:
        raise MarkupError(f"has a document type ({name})")


def parse(content: bytes) -> ET.Element:
    """The root of an XML document, its entities being only XML's own five.

    Nothing is fetched, and nothing expands: so that no version of expat is relied on for it.

    Raises:
        MarkupError: it is not well-formed, in an unknown encoding, or declares a document type.
    """
    parser = ET.XMLParser(target=_Builder())  # noqa: S314 (see above)
    try:
        parser.feed(content)
        root: ET.Element = parser.close()
    except MarkupError:
        raise
    except (ET.ParseError, LookupError, ValueError) as reason:
        raise MarkupError(f"is not XML ({reason})") from None
    return root


def local_name(element: ET.Element) -> str:
    """An element's tag without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def texts(root: ET.Element, name: str) -> list[str]:
    """What stands in all elements of that name, whatever their namespace."""
    return [(element.text or "").strip() for element in root.iter() if local_name(element) == name]
