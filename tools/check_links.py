"""Every link of a built site, or of what it is built from: pages and anchors inside it must exist; addresses outside it are only listed.

    python tools/check_links.py _docs            # exit status 1, with a line for each broken link
    python tools/check_links.py _docs --external # and the addresses outside
    python tools/check_links.py nbs README.md    # notebooks and Markdown pages, without a build"""
import argparse, json, re, sys
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


def prose(path):
    "The Markdown of a notebook or a Markdown page, without its code"
    text = path.read_text(encoding='utf-8')
    if path.suffix == '.ipynb': text = '\n\n'.join(''.join(c['source']) for c in json.loads(text)['cells'] if c['cell_type'] == 'markdown')
    return re.sub(r'^```.*?^```|^ {4}[^\n]*', '', text, flags=re.S|re.M)


def slug(heading):
    "The anchor of a `heading`, as Pandoc makes it and every builder of sites after it"
    plain = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
    return re.sub(r'^[\W\d_]+', '', re.sub(r'[^\w. -]', '', plain).strip().lower().replace(' ', '-'))


def check_sources(paths):
    "What is broken in notebooks and Markdown pages, as (page, link, why), and the number of links followed"
    files = [f for p in paths for f in (sorted(f for f in p.rglob('*') if f.suffix in ('.ipynb', '.md') and not any(x.startswith(('.', '_')) for x in f.parts)) if p.is_dir() else [p])]
    anchors, broken, n = {}, [], 0
    def of(file):
        if file not in anchors: anchors[file] = {'', 'top', *map(slug, re.findall(r'^#+ +(.+?)\s*$', prose(file), re.M))}
        return anchors[file]
    for file in files:
        for link in re.findall(r'\]\(\s*<?([^)\s>]+)', re.sub(r'`[^`\n]*`', '', prose(file))):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc: continue
            n += 1
            to = (file.parent/unquote(parts.path)).resolve() if parts.path else file.resolve()
            if not to.exists(): broken.append((str(file), link, 'no such file'))
            elif parts.fragment and to.suffix in ('.ipynb', '.md') and unquote(parts.fragment) not in of(to): broken.append((str(file), link, 'no such heading'))
    return broken, n


def main(site, external=False):
    if not site.is_dir(): return f'{site}: there is no site: build it with `make docs`'
    pages, broken, outside = check(site)
    if external:
        for link in sorted(outside): print(f'{link}  ({", ".join(sorted(outside[link])[:3])})')
    for name,line,link,why in broken: print(f'{name}:{line}: {link}: {why}')
    print(f'{len(pages)} pages, {sum(len(p.links) for p in pages.values())} links, {len(outside)} addresses outside, {len(broken)} broken')
    if not pages: return f'{site}: holds no page'
    return 1 if broken else 0


def main_sources(paths):
    if gone := [str(p) for p in paths if not p.exists()]: return f"{', '.join(gone)}: no such file or folder"
    broken, n = check_sources(paths)
    for name,link,why in broken: print(f'{name}: {link}: {why}')
    print(f'{n} links between notebooks and pages, {len(broken)} broken')
    return 0 if n and not broken else 1


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('paths', nargs='*', type=Path, default=[Path('_docs')], help='a built site, or notebooks, Markdown pages and folders of them')
    p.add_argument('--external', action='store_true', help='list the addresses outside the site')
    a = p.parse_args()
    built = len(a.paths) == 1 and (not a.paths[0].exists() or any(a.paths[0].glob('*.html')))
    sys.exit(main(a.paths[0], a.external) if built else main_sources(a.paths))
