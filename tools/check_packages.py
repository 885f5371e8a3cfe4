"""Do wheel and sdist build and install clean, can every extra be had, and under which licences do the dependencies stand?

    python tools/check_packages.py                     # build both, install each with every promised Python that is found, import every module, resolve every extra
    python tools/check_packages.py --python python3.12 # with this Python alone; may be given several times
    python tools/check_packages.py --cu126             # ask PyTorch's index for the build for the V100, too
    python tools/check_packages.py --licences          # write the licences of what is installed here to nbs/guide/licences.md

Extras are resolved by uv without being installed or downloaded, since some of them are gigabytes large: it reads no more of a wheel than its metadata.
What cannot be tried here is said, line by line (`----`) and in the last line; it is no failure, and no success either."""
import argparse, functools, os, re, shutil, subprocess, sys, tempfile
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INI = ConfigParser(delimiters=['='])
INI.read(ROOT/'settings.ini', encoding='utf-8')
EXTRAS = [k.removesuffix('_requirements') for k in INI['DEFAULT'] if k.endswith('_requirements')]
PROMISED = ('train', 'gpu', 'review', 'scale', 'docs', 'dev')
PYTHONS = ('3.11', '3.12', '3.13')
LARGE = {'torch', 'peft', 'accelerate', 'bitsandbytes'} # torch, and what cannot be had without it
CU126 = 'https://download.pytorch.org/whl/cu126'
# what an import must find that is no Python file
DATA = ('conf/config.yaml', 'conf/train/quickstart.yaml', 'conf/prices.yaml', 'prompts/solve_ko.jinja', 'templates/dataset_card.md.jinja', 'samples/README.md', 'samples/korean.jsonl')
TOLD = []


def run(*command, **how):
    "Exit status and output of a command"
    p = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
    return p.returncode, p.stdout


def line(ok, what, said=''):
    "Print one finding; `ok` is None for what could not be tried"
    mark = '----' if ok is None else 'ok  ' if ok else 'FAIL'
    print(f"{mark} {what}{' NOT TRIED' if ok is None else ''}{': ' + said if said else ''}", flush=True)
    TOLD.append(ok)
    return ok


def version_of(python):
    "The version of an interpreter, such as 3.12; none if it does not run"
    try: rc, said = run(python, '-c', 'import sys; print(*sys.version_info[:2], sep=".")')
    except OSError: return None
    return None if rc else said.strip()


def found(version):
    "An interpreter of this version: this one, one on the path, or one of pyenv's"
    pyenv = Path(os.environ.get('PYENV_ROOT', Path.home()/'.pyenv'))/'versions'
    places = [sys.executable, shutil.which(f'python{version}'), *sorted(pyenv.glob(f'{version}.*/bin/python'))]
    return next((str(p) for p in places if p and version_of(p) == version), None)


@functools.cache
def uv(folder):
    "The resolver: uv on the path, or fetched into an environment of its own; none if it cannot be had"
    if here := shutil.which('uv'): return here
    place = folder/'uv'
    run(sys.executable, '-m', 'venv', place)
    rc, _ = run(place/'bin'/'pip', 'install', '-q', '--disable-pip-version-check', 'uv')
    return None if rc else str(place/'bin'/'uv')


def copied(folder):
    "The files that git knows or would add, in `folder`, so that nothing is built inside the checkout"
    names = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for name in names:
        if not (ROOT/name).is_file(): continue
        (folder/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT/name, folder/name)
    return folder


def built(source, folder):
    "Wheel and sdist of `source`"
    rc2, said2 = run(sys.executable, 'setup.py', '-q', 'sdist', '--dist-dir', folder, cwd=source)
    rc, said = run(sys.executable, '-m', 'pip', 'wheel', '-q', '--disable-pip-version-check', '--no-deps', '--no-build-isolation', '-w', folder, source)
    for what,code,out in (('wheel builds', rc, said), ('sdist builds', rc2, said2)): line(not code, what, out.strip()[-800:] if code else '')
    return [*folder.glob('*.whl'), *folder.glob('*.tar.gz')]


def installs(package, python, folder):
    "Whether `package` alone installs into a fresh environment, with its data, and imports there without its dependencies; the environment"
    version = version_of(python)
    place, name = folder/f"{version}-{package.suffix.strip('.')}", f'{package.name} with Python {version}'
    rc, said = run(python, '-m', 'venv', place)
    if rc: return line(False, f'{name}: an environment', said[-500:]) and None
    pip = (place/'bin'/'pip', 'install', '-q', '--disable-pip-version-check')
    rc, said = run(*pip, 'setuptools', 'wheel')
    if not rc: rc, said = run(*pip, '--no-deps', '--no-build-isolation', package)
    if rc: return line(False, f'{name} installs', said[-800:]) and None
    test = f'import importlib.resources as r, reasondistill; f=r.files("reasondistill"); m=[d for d in {DATA!r} if not (f/d).is_file()]; assert not m, m; print(reasondistill.__version__)'
    rc, said = run(place/'bin'/'python', '-c', test, cwd=folder)
    return place if line(not rc, f'{name} installs, has its data and imports', said.strip()[-300:]) else None


def imports(place, folder, constraints):
    "Whether every module compiles without a warning and imports, and the command answers, beside the libraries that it needs less torch"
    python, version = place/'bin'/'python', version_of(place/'bin'/'python')
    code = 'import compileall, pathlib, reasondistill as r; p=pathlib.Path(r.__file__).parent; print(len([*p.glob("*.py")])); exit(not compileall.compile_dir(p, quiet=1, force=True))'
    rc, said = run(python, '-W', 'error', '-c', code, cwd=folder)
    line(not rc, f'every module compiles with Python {version} without a warning', said.strip()[-300:])
    if not uv(folder): return line(None, f'imports with Python {version}', 'uv cannot be had')
    wanted = [r for r in INI['DEFAULT']['requirements'].split() if re.split(r'[\[<>=!~;]', r)[0] not in LARGE]
    rc, said = run(uv(folder), 'pip', 'install', '-q', '--python', python, *(('-c', constraints) if constraints else ()), *wanted)
    if rc: return line(False, f'what it needs installs with Python {version}', said[-500:])
    code = 'import importlib, pkgutil, reasondistill as r; n=[m.name for m in pkgutil.iter_modules(r.__path__)]; [importlib.import_module("reasondistill."+x) for x in n]; print(len(n))'
    rc, said = run(python, '-c', code, cwd=folder)
    line(not rc, f"every module imports with Python {version}, torch left out", said.strip()[-400:])
    rc, said = run(place/'bin'/'reasondistill', '--help', cwd=folder)
    return line(not rc and 'doctor' in said, f'reasondistill --help with Python {version}', '' if not rc else said[-300:])


def resolves(wheel, extras, version, constraints, folder, *more):
    "Whether there is a set of versions for the extras"
    what = f"extra {extras} with Python {version}" + (f" within {Path(constraints).name}" if constraints else '') + (' and the index for CUDA 12.6' if more else '')
    if not uv(folder): return line(None, what, 'uv cannot be had')
    limits = ('-c', constraints) if constraints else ()
    command = (uv(folder), 'pip', 'compile', '-q', '--no-header', '--no-annotate', '--python-version', version, *limits, *more, '-')
    rc, said = run(*command, input=f'reasondistill[{extras}] @ {wheel.resolve().as_uri()}\n', cwd=folder)
    if not rc: return line(True, f'{what} resolves', f"{len(said.splitlines())-1} packages, {next((l for l in said.splitlines() if l.startswith('torch==')), 'no torch')}")
    if re.search(r'(?i)failed to fetch|error sending request|timed out|dns|status client error \((?!404)', said): return line(None, what, 'the index cannot be reached: ' + said.strip()[-200:])
    return line(False, what, ' '.join(said.split())[:700])


def checks():
    "Whether pip is content with what is installed here for this package; the complaints about others are shown"
    rc, said = run(sys.executable, '-m', 'pip', 'check', '--disable-pip-version-check')
    key = lambda n: re.sub(r'[-_.]+', '-', n).lower()
    ours = {key(INI['DEFAULT']['lib_name']), *closure(INI['DEFAULT']['lib_name'])}
    if ours == {key(INI['DEFAULT']['lib_name'])}: return line(None, 'pip check', 'reasondistill is not installed here')
    mine = [l for l in said.splitlines() if rc and l and key(l.split()[0]) in ours]
    others = [l for l in said.splitlines() if rc and l and key(l.split()[0]) not in ours]
    for l in others: print(f'     not of this package: {l}')
    return line(not mine, f'pip check here, of the {len(ours)} packages that reasondistill can use', '; '.join(mine))


def licence(about):
    "The licence in a package's metadata, in a few words"
    if said := about.get('License-Expression'): return said
    classes = [c.rpartition(' :: ')[2] for c in about.get_all('Classifier') or () if c.startswith('License :: ') and not c.endswith('OSI Approved')]
    named = (about.get('License') or '').strip().splitlines()
    return ', '.join(classes) or (named[0][:60] if named else 'not stated')


def closure(name):
    "The distributions installed here that `name` needs, extras included, directly or not"
    from packaging.requirements import Requirement
    key = lambda n: re.sub(r'[-_.]+', '-', n).lower()
    seen, todo = {}, [(name, frozenset(EXTRAS))]
    while todo:
        n, extras = todo.pop()
        if (key(n), extras) in seen: continue
        try: dist = metadata.distribution(n)
        except metadata.PackageNotFoundError: continue
        seen[key(n), extras] = dist
        for r in map(Requirement, dist.requires or ()):
            if not r.marker or any(r.marker.evaluate({'extra': e}) for e in (extras or {''})): todo.append((r.name, frozenset(r.extras)))
    return {k: d for (k,_),d in seen.items() if k != key(name)}


def write_licences(path):
    "The table of licences"
    direct = {re.split(r'[\[<>=!~;]', r)[0].lower() for k,v in INI['DEFAULT'].items() if k == 'requirements' or k.endswith('_requirements') for r in v.split()}
    rows = [(d.metadata['Name'], licence(d.metadata), 'directly' if k in direct else '') for k,d in sorted(closure(INI['DEFAULT']['lib_name']).items())]
    cell = lambda s: s.replace('|', '\\|')
    table = '\n'.join(f'| {cell(n)} | {cell(l)} | {d} |' for n,l,d in rows)
    path.write_text(f'# Licences of the dependencies\n\nWhat the packages that reasondistill needs, or can use, state about themselves in their metadata: those of the tested set that are '
                    'installed where this page was made,\nby `python tools/check_packages.py --licences`. It is a list, and no legal advice; extras of which nothing is installed there are not in it.\n\n'
                    f'| package | licence | needed |\n| --- | --- | --- |\n{table}\n', encoding='utf-8')
    line(True, f'{path.relative_to(ROOT)}', f"{len(rows)} packages, {sum(l == 'not stated' for _,l,_ in rows)} without a statement")


def main(a):
    if a.licences: return write_licences(ROOT/'nbs'/'guide'/'licences.md')
    line(not (lost := [e for e in PROMISED if e not in EXTRAS]), 'the promised extras are declared', ', '.join(lost))
    pythons = {version_of(p): p for p in a.python} if a.python else {v: found(v) for v in PYTHONS}
    if None in pythons: sys.exit(f'{pythons[None]}: no Python that runs')
    with tempfile.TemporaryDirectory() as d:
        folder = Path(d)
        packages = built(copied(folder/'source'), folder)
        for version,python in pythons.items():
            if not python: line(None, f'Python {version}: packages', f'no Python {version} was found here; name one with --python'); continue
            for p in packages:
                place = installs(p, python, folder)
                if place and p.suffix == '.whl' and not a.quick: imports(place, folder, a.constraints)
        wheel = next((p for p in packages if p.suffix == '.whl'), None)
        if wheel and not a.quick:
            for version in pythons:
                for e in a.extras or EXTRAS: resolves(wheel, e, version, a.constraints, folder)
            v100 = ROOT/'constraints-v100.txt'
            resolves(wheel, 'gpu,gemini', next(iter(pythons)), v100, folder)
            index = ('--index', CU126, '--index-strategy', 'unsafe-best-match')
            if a.cu126: resolves(wheel, 'gpu,gemini', next(iter(pythons)), v100, folder, *index)
            else: line(None, 'the build of torch for CUDA 12.6', 'it has an index of its own, and nobody asked for it (--cu126)')
    checks()
    print(f'{TOLD.count(True)} ok, {sum(t is False for t in TOLD)} failed, {TOLD.count(None)} not tried')
    return 1 if any(t is False for t in TOLD) else 0


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--licences', action='store_true', help='write the table of licences, nothing else')
    p.add_argument('--python', action='append', help='a Python to install with; may be given several times; without it, each promised one that is found')
    p.add_argument('--extras', nargs='*', help='only these')
    p.add_argument('--constraints', default=str(ROOT/'constraints.txt'), help='versions to keep to; empty: none')
    p.add_argument('--quick', action='store_true', help='build and install the packages alone: import no modules, resolve no extras')
    p.add_argument('--cu126', action='store_true', help="ask PyTorch's own index whether there is a build for the V100")
    sys.exit(main(p.parse_args()))
