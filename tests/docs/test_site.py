"""The site is built strictly, its links lead somewhere, and it fetches nothing."""

import html.parser
import importlib.util
import os
import shutil
import subprocess
import sys
from urllib.parse import unquote, urlsplit

import pytest
import write
from _snippets import ROOT

NEEDED = ("mkdocs", "material", "mkdocstrings", "mkdocstrings_handlers")
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
LOADED = {"stylesheet", "icon", "preload", "preconnect", "modulepreload", "dns-prefetch"}


class Page(html.parser.HTMLParser):
    """What a page links to, what it loads, and the places in it that links may name."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.places = [], [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.places |= {found[key] for key in ("id", "name") if found.get(key)}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        kinds = set((found.get("rel") or "stylesheet").split())
        if tag in LOADS and found.get(LOADS[tag]) and (tag != "link" or kinds & LOADED):
            self.loads.append(found[LOADS[tag]])


def broken(site):
    """Links and loaded files of a built site that are not there, as `PAGE: LINK`."""
    pages = {file: Page(file.read_text()) for file in site.rglob("*.html")}
    found = []
    for file, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if parts.path.startswith("/"):  # of the page that says that there is no such page
                target = site / unquote(parts.path).lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            there = target.is_file()
            if there and parts.fragment and target in pages:
                there = unquote(parts.fragment) in pages[target].places
            if not there:
                found.append(f"{file.relative_to(site)}: {link}")
    return found


def fetched(site):
    """What pages and styles load from elsewhere."""
    pages = [(file, Page(file.read_text()).loads) for file in site.rglob("*.html")]
    found = [
        f"{file.name}: {each}" for file, loads in pages for each in loads if urlsplit(each).netloc
    ]
    styles = [file for file in site.rglob("*.css") if "url(http" in file.read_text()]
    return found + [file.name for file in styles]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    missing = [each for each in NEEDED if importlib.util.find_spec(each) is None]
    if missing:
        pytest.skip(f"the site needs the extra docs: {', '.join(missing)} not installed")
    folder = tmp_path_factory.mktemp("site").resolve()
    shutil.copytree(ROOT / "docs", folder / "docs")
    write.main(folder / "docs")
    places = {"DOCS_DIR": str(folder / "docs"), "SITE_DIR": str(folder / "site")}
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"],
        env={**os.environ, **places, "NO_MKDOCS_2_WARNING": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    return folder / "site"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_is_whole_and_fetches_nothing(site):
    assert len(list(site.rglob("*.html"))) > 80
    assert broken(site) == []
    assert fetched(site) == []
    assert (site / "search" / "search_index.json").is_file()
    size = sum(file.stat().st_size for file in site.rglob("*") if file.is_file())
    assert size < 30e6


def test_broken_links_are_found(tmp_path):
    folder = tmp_path.resolve()
    (folder / "a").mkdir()
    (folder / "a" / "index.html").write_text('<h1 id="top">A</h1><img src="no.png">')
    (folder / "b.html").write_text(
        '<a href="a/">1</a><a href="a/#top">2</a><a href="a/index.html#low">3</a><a href="c.html">4'
        '</a><a href="#here">5</a><a href="https://e.org/x">6</a><link rel="canonical" href="no">'
        '<link rel="stylesheet" href="https://e.org/f.css"><script src="//e.org/s.js"></script>'
    )
    wrong = {"a/index.html: no.png", "b.html: a/index.html#low", "b.html: c.html", "b.html: #here"}
    assert set(broken(folder)) == wrong
    assert fetched(folder) == ["b.html: https://e.org/f.css", "b.html: //e.org/s.js"]
