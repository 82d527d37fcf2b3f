"""Looks over the finished pages: `python docs/check.py site`.

Machine's own folders are written as . and ~, and every page must lead only to what is there: no
link, picture, style or script that is missing, none that is fetched from a network.  Links of text
to other sites are allowed; nothing of the page depends on them.
"""
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "srcset"),
          ("iframe", "src"), ("img", "srcset")}


class Page(HTMLParser):
    """The names that a page has, and where it leads: `links` of (tag, attribute, address)."""

    def __init__(self, text):
        super().__init__()
        self.names, self.links = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """A tag."""
        for name, value in attributes:
            if name in ("id", "name") and value:
                self.names.add(value)
            if name in ("href", "src") and value:
                self.links.append((tag, name, value))
            if name == "srcset" and value:
                self.links += [(tag, name, part.split()[0]) for part in value.split(",")]


def hide(folder, machine):
    """Write the machine's own folders as . and ~, in place; {path: what stands for it}."""
    for path in folder.rglob("*"):
        if path.suffix in (".html", ".js", ".txt"):
            text = old = path.read_text(encoding="utf-8")
            for own, short in machine.items():
                text = text.replace(own, short)
            if text != old:
                path.write_text(text, encoding="utf-8")


def broken(folder):
    """What is wrong, a sentence each."""
    folder = folder.resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    for path, page in sorted(pages.items()):
        for tag, name, address in page.links:
            where = urlsplit(address)
            if where.scheme in ("http", "https") or address.startswith("//"):
                if (tag, name) in LOADED:
                    yield f"{path.relative_to(folder)}: fetches {address}"
                continue
            if where.scheme:                                    # data:, mailto:, javascript:
                continue
            target = (path.parent / unquote(where.path)).resolve() if where.path else path
            if not target.is_file():
                yield f"{path.relative_to(folder)}: {address} is not there"
            elif where.fragment and target in pages and tag == "a" \
                    and unquote(where.fragment) not in pages[target].names:
                yield f"{path.relative_to(folder)}: {address} has no such place"


def main(folder):
    """Look a folder over; the exit code."""
    folder = Path(folder)
    hide(folder, {str(Path.cwd()): ".", str(Path.home()): "~"})
    found = list(broken(folder))
    print("\n".join(found) or f"{sum(1 for _ in folder.rglob('*.html'))} pages; every link leads "
                              "somewhere, and nothing is fetched from a network")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
