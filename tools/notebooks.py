"""What `make` does with the notebooks: test, refresh (re-run and keep outputs), readme, docs.

Every notebook is tested in a process of its own, because nbdev_test's workers are reused and leak state from one to the next."""
import argparse, ast, json, os, re, shutil, subprocess, sys, time
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INI = ConfigParser(delimiters=['='])
INI.read(ROOT/'settings.ini', encoding='utf-8')
FLAGS = set(INI['DEFAULT']['tst_flags'].split())
CHECK = re.compile(r'\b(test_\w+\(|assert\b|expect_fail)')


def notebooks(paths=()):
    "The notebooks named in `paths`, or all of them under nbs/ in reading order"
    if paths: return [Path(p).resolve() for p in paths]
    found = (ROOT/'nbs').rglob('*.ipynb')
    return sorted(p for p in found if not any(part.startswith(('.', '_')) for part in p.relative_to(ROOT/'nbs').parts))


def directives(source):
    "Directives at the top of a cell, name to value"
    ds = {}
    for line in source.splitlines():
        if not line.strip(): continue
        m = re.match(r'#\|\s*(\S+?):?(?:\s+(.*))?$', line.strip())
        if not m: break
        ds[m[1]] = m[2] or ''
    return ds


def skipped(source):
    ds = directives(source)
    return bool(FLAGS & set(ds)) or ds.get('eval', '').strip().lower() == 'false'


def census(path):
    "Code cells that run, of which hold a check, and cells skipped by a flag"
    cells = json.loads(path.read_text(encoding='utf-8'))['cells']
    code = [''.join(c['source']) for c in cells if c['cell_type'] == 'code' and ''.join(c['source']).strip()]
    live = [s for s in code if not skipped(s)]
    return len(live), sum(bool(CHECK.search(s)) for s in live), len(code) - len(live)


def test(paths, timeout, workers):
    "Run nbdev_test on each notebook in its own process; a notebook in which nothing is checked fails"
    from concurrent.futures import ThreadPoolExecutor
    exe = Path(sys.executable).parent/'nbdev_test'
    passed, failed, skips = 0, [], 0

    def one(nb):
        start = time.time()
        env = dict(os.environ, OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS') or str(max(1, (os.cpu_count() or 2)//workers)))
        try:
            p = subprocess.run([exe, '--path', str(nb), '--n_workers', '0'], cwd=ROOT, env=env, timeout=timeout,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return nb, p.returncode, p.stdout, time.time()-start
        except subprocess.TimeoutExpired as e:
            out = e.stdout or ''
            return nb, 124, (out if isinstance(out, str) else out.decode(errors='replace')) + f'\nover {timeout} s', time.time()-start

    with ThreadPoolExecutor(workers) as pool:
        for nb, rc, out, took in pool.map(one, notebooks(paths)):
            ran, checks, skip = census(nb)
            if rc == 0 and not ran: rc, out = 1, 'no cell ran'
            if rc == 0 and not checks: rc, out = 1, 'nothing is checked'
            name = nb.relative_to(ROOT/'nbs') if nb.is_relative_to(ROOT/'nbs') else nb
            print(f"{'ok  ' if rc == 0 else 'FAIL'} {str(name):36s} {ran:3d} cells, {checks:3d} with checks, {skip} skipped {took:6.1f} s", flush=True)
            skips += skip
            if rc == 0: passed += 1
            else:
                failed.append(name)
                print(out[-6000:], flush=True)
    print(f'{passed} passed, {len(failed)} failed, {skips} skipped')
    return 1 if failed else 0


def refresh(paths):
    "Re-run notebooks and save their outputs; cells behind a flag keep the outputs that they have"
    from execnb.nbio import read_nb, write_nb
    from execnb.shell import CaptureShell
    for nb in notebooks(paths):
        if len(notebooks(paths)) > 1:  # one process each, as in the tests
            if rc := subprocess.run([sys.executable, __file__, 'refresh', str(nb)]).returncode: return rc
            continue
        os.environ['IN_TEST'] = '1'
        sys.path.insert(0, str(ROOT))
        os.chdir(nb.parent)
        book, shell = read_nb(nb), CaptureShell(nb)
        for c in book.cells:  # a cell that says nothing any more would keep what it said before
            if c.cell_type == 'code' and not skipped(c.source): c.outputs = []
        try: shell.run_all(book, exc_stop=True, preproc=lambda c: c.cell_type != 'code' or skipped(c.source) or 'nbdev_export(' in c.source)
        except Exception:
            print(shell.prettytb(fname=nb), file=sys.stderr)
            return 1
        write_nb(book, nb)
        print('refreshed', nb.name)
    return 0


def readme(check=False):
    "README.md from index.ipynb: with Quarto where it exists the site shows the same cells"
    from nbconvert import MarkdownExporter
    import nbformat
    book = nbformat.read(ROOT/'nbs'/'index.ipynb', as_version=4)
    book.cells = [c for c in book.cells if not (c.cell_type == 'code' and 'hide' in directives(c.source))]
    book.metadata['language_info'] = {'name': 'python'}
    for i, c in enumerate(book.cells):
        if c.cell_type != 'code': continue
        if directives(c.source).get('echo') == 'false':
            shown = [o.data['text/markdown'] for o in c.outputs if 'text/markdown' in o.get('data', {})]
            book.cells[i] = nbformat.v4.new_markdown_cell('\n'.join(''.join(x) for x in shown))
        else: c.source = '\n'.join(l for l in c.source.splitlines() if not l.startswith('#|'))
    body, _ = MarkdownExporter().from_notebook_node(book)
    body = body.replace('../asset/', 'asset/')
    body = re.sub(r'\]\((\d\d\w*_\w+|tutorials/\w+|guide/\w+)\.ipynb\)', r'](nbs/\1.ipynb)', body)
    body = '<!-- WARNING: THIS FILE WAS AUTOGENERATED! DO NOT EDIT! -->\n\n' + re.sub(r'\n{3,}', '\n\n', body).strip() + '\n'
    target = ROOT/'README.md'
    if check:
        same = target.exists() and target.read_text(encoding='utf-8') == body
        print('README.md is what index.ipynb gives' if same else 'README.md differs from index.ipynb: run `make readme` and commit it')
        return 0 if same else 1
    target.write_text(body, encoding='utf-8')
    return 0


# The API pages by the first number of their notebook, in the order of the method
PARTS = (('Records, answers, data', 0, 3), ('Asking models', 3, 5), ('Hard negatives', 5, 6), ('Blueprint and transfer', 6, 8), ('Pairs and training', 8, 11),
         ('Statistics and evaluation', 11, 13), ('Pictures, review, report', 13, 15), ('Runs and the command', 15, 20), ('Fine-tune-CoT', 20, 21),
         ('Programs and ReFT', 21, 23), ('Self-rewarding and collapse', 23, 30))
GUIDE = ('method', 'coming_from_trl', 'coming_from_unsloth', 'coming_from_distilabel', 'coming_from_lm_eval', 'faq', 'licences')
PAPERS = {'CHANGELOG.md': 'changelog.md', 'CONTRIBUTING.md': 'contributing.md', 'RELEASING.md': 'releasing.md'}  # that the site shows, too


def named(pages):
    "Where each of `pages`, paths below nbs/, stands in the site: without the number that orders it, as nbdev has it, unless an earlier page has that name"
    out = {}
    for p in sorted(map(Path, pages)):
        short = p.parent/re.sub(r'^\d+[a-z]*_', '', p.name)
        out[p] = p if short in out.values() else short
    return out


def sidebar(pages):
    "The table of contents: `pages` are paths below nbs/, and every one of them is in it"
    site, rooms, folders = named(pages), [], {}
    for p in sorted(site):
        if p.parent == Path('.') and re.match(r'\d\d', p.name): rooms.append(p)
        elif p.parent != Path('.'): folders.setdefault(p.parts[0], []).append(p)
    shown = lambda ps: [site[p].as_posix() for p in ps]
    part = lambda title, ps: [dict(section=title, contents=shown(ps))] if ps else []
    number = lambda p: int(p.name[:2])
    by_guide = sorted(folders.pop('guide', []), key=lambda p: (GUIDE.index(p.stem) if p.stem in GUIDE else len(GUIDE), p.name))
    # 03_tasks belongs to the data, 03a and its neighbours to the models that are asked
    at = lambda p: number(p)+.5*(bool(re.match(r'03[a-z]', p.name)))
    api = [x for title,low,high in PARTS for x in part(title, [p for p in rooms if (low if low != 3 else 3.1) <= at(p) < (high if high != 3 else 3.1)])]
    cases = folders.pop('tests', [])
    contents = ['index.ipynb', *part('Guide', by_guide), *part('Tutorials', folders.pop('tutorials', [])), *part('Findings', [p for p in rooms if number(p) >= 30]),
                *[x for name,ps in sorted(folders.items()) for x in part(name.capitalize(), ps)], dict(section='API', contents=api), *part('Test cases', cases),
                dict(section='The project', contents=[PAPERS[p] for p in PAPERS if (ROOT/p).exists()])]
    return dict(website=dict(sidebar=dict(style='floating', contents=contents)))


def relinked(text, page, site):
    "The text of the processed `page` with links to notebooks by their names in the `site`"
    depth = len(page.parts)-1
    def link(m):
        to = Path(os.path.normpath(page.parent/m[1]))
        return '](' + os.path.relpath(site[to], page.parent) if to in site else m[0]
    text = re.sub(r'\]\(([\w./]+\.ipynb)(?=[)#])', link, text)
    text = text.replace('../'*(depth+1)+'asset/', '../'*depth+'asset/')  # copied into the site, from beside nbs/
    return re.sub(r'output-file: [\w.-]+\.html(\\n)?', '', text)  # the page has that name already


def homes(nb):
    "Where the names that a page may mean stand: the module that it defines, and every name that it imports from the library"
    lib, found, own = INI['DEFAULT']['lib_path'], {}, None
    for c in nb.cells:
        own = own or (c.get('directives_', {}).get('default_exp') or [None])[0]
        for n in (n for t in (c.parsed_() or () if c.cell_type == 'code' else ()) for n in ast.walk(t) if isinstance(n, ast.ImportFrom)):
            if (n.module or '').startswith(lib+'.'): found |= {a.asname or a.name: n.module for a in n.names}
    return f'{lib}.{own}' if own else None, found


def symbol_link(own, imported):
    "A function from a name in backticks to its address in the site, None where it may be an ordinary word: nbdev links every word that some module defines, to any of them"
    from nbdev.doclinks import NbdevLookup
    look = NbdevLookup()
    library = [n for n in look.syms if n.startswith(INI['DEFAULT']['lib_path']+'.')]
    def link(name):
        first = name.split('.')[0]
        if f'{own}.{first}' in look.syms: at = [own]
        elif first in imported: at = [imported[first]]
        elif '_' in first or first != first.lower(): at = [n.rpartition('.')[0] for n in library if n.count('.') == 2 and n.endswith('.'+first)]
        else: at = []
        return look.doc(f'{at[0]}.{name}') if len(at) == 1 and not first.startswith('_') else None
    return link


def linked(text, link, but=()):
    "`text` with its names in backticks linked, outside code and existing links"
    lines, fenced = text.split('\n'), False
    for i,line in enumerate(lines):
        if line.startswith('```'): fenced = not fenced
        elif not fenced and not line.startswith('    '):
            mark = lambda m: m[0] if m[1] in but or not (to := link(m[1])) else f'[{m[0]}]({to})'
            lines[i] = re.sub(r'(?<![\[`])`([A-Za-z_][\w.]*)(?:\(\))?`(?![`\]])', mark, line)
    return '\n'.join(lines)


def head(source, tree):
    "The signature of a function, or the fields and the constructor of a class, with their comments, as they stand in the `source`, and not as what their annotations evaluate to"
    lines = source.splitlines()
    if isinstance(tree, ast.ClassDef):
        own = [n for n in tree.body if getattr(n, 'name', '') == '__init__' or isinstance(n, ast.AnnAssign) and not getattr(n.target, 'id', '_').startswith('_')]
        inner = [l for n in own for l in (head(source, n).splitlines() if isinstance(n, ast.FunctionDef) else lines[n.lineno-1:n.end_lineno])]
        bases = f"({', '.join(map(ast.unparse, tree.bases))})" if tree.bases else ''
        return '\n'.join([f'class {tree.name}{bases}' + (':' if inner else ''), *inner])
    body = tree.body[0]
    return '\n'.join([*lines[tree.lineno-1:body.lineno-1], lines[body.lineno-1].encode()[:body.col_offset].decode()]).rstrip()


def entry(name, symbol, own, link):
    "What a page says of a `symbol`: its source, heading, signature and docstring"
    import inspect, textwrap
    plain = inspect.unwrap(getattr(symbol, 'fget', None) or getattr(symbol, 'func', None) or symbol)
    (source, line), said = inspect.getsourcelines(plain), set()
    source = textwrap.dedent(''.join(source))
    tree = ast.parse(source).body[0]
    for n in ast.walk(tree): said |= {n.arg} if isinstance(n, ast.arg) else {n.target.id} if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name) else set()
    file = f"{INI['DEFAULT']['git_url']}/blob/{INI['DEFAULT']['branch']}/{own.replace('.', '/')}.py#L{line}"
    doc = linked(ast.get_docstring(tree) or '', link, said)
    return '\n\n'.join(['---', f'[source]({file}){{target="_blank" style="float:right; font-size:smaller"}}', f'### {name}', f'```python\n{head(source, tree)}\n```', doc if '*' in doc or not doc else f'*{doc}*'])


def from_library():
    "nbdev would run the exported cells of every notebook once more to show what they define; the library holds that already, so it is shown from there"
    from fastcore.basics import AttrDict
    from importlib import import_module
    from nbdev import processors

    class exec_show_docs(processors.Processor):
        def begin(self):
            self.own, imported = homes(self.nb)
            self.names, self.nb.link_ = dict(vars(import_module(self.own))) if self.own else {}, symbol_link(self.own, imported)

        def cell(self, cell):
            if not processors._is_showdoc(cell): return
            name = re.search(r'^show_doc\((.+)\)', cell.source, re.M)[1]
            try: symbol = eval(name, self.names)
            except (NameError, AttributeError) as e: raise SystemExit(f'{name}: {e}: the library is older than its notebooks; run nbdev_export') from None
            cell.outputs = [AttrDict(output_type='display_data', metadata={}, data={'text/markdown': entry(name, symbol, self.own, self.nb.link_).splitlines(True)})]

    class add_links(processors.Processor):
        def cell(self, cell):
            if cell.cell_type == 'markdown': cell.source = linked(cell.source, self.nb.link_)

    def clean_magics(cell): pass  # nbdev drops lines of magics, and leaves their blocks empty; a reader is to see how a page installs itself on Colab

    processors.exec_show_docs, processors.add_links, processors.clean_magics = exec_show_docs, add_links, clean_magics


if __name__ == '__mp_main__':  # in the workers of proc_nbs, which import this file under that name
    from_library()


def prepared():
    "The folder that either site builder renders: nbdev's processed notebooks under the names of their pages, the papers beside them, and the table of contents"
    import yaml
    from nbdev.quarto import refresh_quarto_yml
    from nbdev.serve import proc_nbs
    os.chdir(ROOT)
    refresh_quarto_yml()
    proc = Path(proc_nbs.__wrapped__(force=True) if hasattr(proc_nbs, '__wrapped__') else proc_nbs(force=True))
    pages = [p.relative_to(proc) for p in proc.rglob('*') if p.suffix in ('.ipynb', '.md')]
    site = named(pages)
    for page in pages:
        (proc/page).write_text(relinked((proc/page).read_text(encoding='utf-8'), page, site), encoding='utf-8')
        (proc/page).rename(proc/site[page])
    shutil.copytree(ROOT/'asset', proc/'asset', dirs_exist_ok=True)
    for paper,name in PAPERS.items():
        if not (ROOT/paper).exists(): continue
        text = (ROOT/paper).read_text(encoding='utf-8')
        (proc/name).write_text(re.sub(r'\]\((\w+\.md)\)', lambda m: '](' + PAPERS.get(m[1], m[1]) + ')', text), encoding='utf-8')
    (proc/'sidebar.yml').write_text(yaml.safe_dump(sidebar(pages), allow_unicode=True, sort_keys=False), encoding='utf-8')
    return proc


def mended(site):
    "A symbol in backticks may have no entry of its own on its page, as methods mostly have not: such a link goes to its class, or to the page"
    from check_links import Page, target
    anchors = {p.resolve(): Page(p).anchors for p in site.rglob('*.html')}
    for page in anchors:
        def mend(m):
            found = target(site, page, m[1])
            if not found or not found[1] or found[1] in anchors.get(found[0], {found[1]}): return m[0]
            link, _, symbol = m[1].rpartition('#')
            owner = symbol.split('.')[0]
            return f'<a href="{link}#{owner}"><code>' if owner in anchors[found[0]] else f'<a href="{link}"><code>'
        page.write_text(re.sub(r'<a href="([^"]+#[^"]+)"><code>', mend, page.read_text(encoding='utf-8')), encoding='utf-8')


def docs():
    "The site into _docs/, from one prepared folder: by Quarto where it is installed, else by smalldocs; then every link in it is checked"
    from check_links import main as check_links
    proc = prepared()
    render = ['quarto', 'render', '--no-cache'] if shutil.which('quarto') else [Path(sys.executable).parent/'smalldocs', 'render', str(proc)]
    if rc := subprocess.run(render, cwd=proc if shutil.which('quarto') else ROOT).returncode: return rc
    shutil.rmtree(ROOT/'_docs', ignore_errors=True)
    shutil.move(next(p for p in (proc/'_docs', proc/'_site') if p.exists()), ROOT/'_docs')
    mended(ROOT/'_docs')
    pages = named(n.relative_to(ROOT/'nbs') for n in notebooks())
    missing = [str(n) for n,p in pages.items() if not (ROOT/'_docs'/p).with_suffix('.html').exists()]
    print('site: _docs/index.html' + (f'; pages missing: {missing}' if missing else ''))
    return check_links(ROOT/'_docs') or (1 if missing else 0)


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('command', choices=['test', 'refresh', 'readme', 'docs'])
    p.add_argument('paths', nargs='*')
    p.add_argument('--timeout', type=int, default=1200, help='seconds for one notebook')
    p.add_argument('--workers', type=int, default=min(2, os.cpu_count() or 1), help='notebooks at a time')
    p.add_argument('--check', action='store_true', help='readme: compare, write nothing')
    a = p.parse_args()
    sys.exit(dict(test=lambda: test(a.paths, a.timeout, a.workers), refresh=lambda: refresh(a.paths),
                  readme=lambda: readme(a.check), docs=docs)[a.command]())
