"""What `make` does with the notebooks: test, refresh (re-run and keep outputs), readme, docs.

Every notebook is tested in a process of its own, because nbdev_test's workers are reused and leak state from one to the next."""
import argparse, json, os, re, shutil, subprocess, sys, time
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
    body = re.sub(r'\]\((\d\d\w*_\w+|tutorials/\w+)\.ipynb\)', r'](nbs/\1.ipynb)', body)
    body = '<!-- WARNING: THIS FILE WAS AUTOGENERATED! DO NOT EDIT! -->\n\n' + re.sub(r'\n{3,}', '\n\n', body).strip() + '\n'
    target = ROOT/'README.md'
    if check:
        same = target.exists() and target.read_text(encoding='utf-8') == body
        print('README.md is what index.ipynb gives' if same else 'README.md differs from index.ipynb: run `make readme` and commit it')
        return 0 if same else 1
    target.write_text(body, encoding='utf-8')
    return 0


def docs():
    "The site into _docs/: Quarto where it is installed, else smalldocs on the same configuration"
    bin_ = Path(sys.executable).parent
    if shutil.which('quarto'): return subprocess.run([bin_/'nbdev_docs'], cwd=ROOT).returncode
    from nbdev.doclinks import _build_modidx
    from nbdev.quarto import nbdev_sidebar, refresh_quarto_yml
    from nbdev.serve import proc_nbs
    os.chdir(ROOT)
    refresh_quarto_yml()
    _build_modidx()
    nbdev_sidebar.__wrapped__() if hasattr(nbdev_sidebar, '__wrapped__') else nbdev_sidebar()
    proc = Path(proc_nbs.__wrapped__(force=True) if hasattr(proc_nbs, '__wrapped__') else proc_nbs(force=True))
    sidebar = proc/'sidebar.yml'
    for nb in list(proc.rglob('*.ipynb')):  # smalldocs does not read `output-file`, by which nbdev's links go
        if not (m := re.search(r'output-file:\s*(\S+)\.html', nb.read_text(encoding='utf-8'))): continue
        name = m[1].rstrip('"') + '.ipynb'
        sidebar.write_text(sidebar.read_text(encoding='utf-8').replace(nb.name, name), encoding='utf-8')
        nb.rename(nb.with_name(name))
    if rc := subprocess.run([bin_/'smalldocs', 'render', str(proc)]).returncode: return rc
    shutil.rmtree(ROOT/'_docs', ignore_errors=True)
    shutil.move(next(p for p in (proc/'_docs', proc/'_site') if p.exists()), ROOT/'_docs')
    page = lambda n: ROOT/'_docs'/n.relative_to(ROOT/'nbs').parent/(re.sub(r'^\d+[a-z]?_', '', n.stem)+'.html')
    missing = [n.stem for n in notebooks() if not page(n).exists()]
    print('site: _docs/index.html' + (f'; pages missing: {missing}' if missing else ''))
    return 1 if missing else 0


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
