"""Every link of a built site: pages and anchors inside it must exist; addresses outside it are only listed.

    python tools/check_links.py _docs            # exit status 1, with a line for each broken link
    python tools/check_links.py _docs --external # and the addresses outside"""
import argparse, sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    "Links and anchors of one page"
    def __init__(self, path):
        super().__init__()
        self.links, self.anchors = [], {'', 'top'}  # an empty fragment and #top are the page itself
        self.feed(path.read_text(encoding='utf-8'))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {v for k in ('id', 'name') if (v := attrs.get(k))}
        for k in ('href', 'src'):
            if v := attrs.get(k): self.links.append((self.getpos()[0], v.strip()))


def target(site, page, link):
    "The file of the site that `link` on `page` leads to, and the anchor in it; None: outside the site, or no address"
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not (parts.path or parts.fragment): return None
    path = unquote(parts.path)
    file = page if not path else site/path.lstrip('/') if path.startswith('/') else page.parent/path
    if file.is_dir(): file /= 'index.html'
    return file.resolve(), unquote(parts.fragment)


def check(site):
    "What is broken, as (page, line, link, why), and the links that lead outside, each with its pages"
    site = site.resolve()
    pages = {p: Page(p) for p in sorted(site.rglob('*.html'))}
    broken, outside = [], {}
    for path,page in pages.items():
        name = path.relative_to(site).as_posix()
        for line,link in page.links:
            if (found := target(site, path, link)) is None:
                if urlsplit(link).netloc: outside.setdefault(link, set()).add(name)
                continue
            file, anchor = found
            if not file.exists(): broken.append((name, line, link, 'no such page'))
            elif not file.is_relative_to(site): broken.append((name, line, link, 'outside the site'))
            # an API anchor with a query of its own, as #:~:text= is, belongs to the browser
            elif anchor and not anchor.startswith(':~:') and file in pages and anchor not in pages[file].anchors: broken.append((name, line, link, 'no such anchor'))
    return pages, broken, outside


def main(site, external=False):
    if not site.is_dir(): return f'{site}: there is no site: build it with `make docs`'
    pages, broken, outside = check(site)
    if external:
        for link in sorted(outside): print(f'{link}  ({", ".join(sorted(outside[link])[:3])})')
    for name,line,link,why in broken: print(f'{name}:{line}: {link}: {why}')
    print(f'{len(pages)} pages, {sum(len(p.links) for p in pages.values())} links, {len(outside)} addresses outside, {len(broken)} broken')
    if not pages: return f'{site}: holds no page'
    return 1 if broken else 0


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('site', nargs='?', type=Path, default=Path('_docs'))
    p.add_argument('--external', action='store_true', help='list the addresses outside the site')
    a = p.parse_args()
    sys.exit(main(a.site, a.external))
