"""Do wheel and sdist build and install clean, can every extra be had, and under which licences do the dependencies stand?

    python tools/check_packages.py                     # build both, install each in a fresh environment, resolve every extra
    python tools/check_packages.py --licences          # write the licences of what is installed here to nbs/guide/licences.md
    python tools/check_packages.py --python python3.12 # with another Python, as often as wanted

Extras are resolved by pip without being installed (`pip install --dry-run`), since some of them are gigabytes large."""
import argparse, re, shutil, subprocess, sys, tempfile, venv
from configparser import ConfigParser
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INI = ConfigParser(delimiters=['='])
INI.read(ROOT/'settings.ini', encoding='utf-8')
EXTRAS = [k.removesuffix('_requirements') for k in INI['DEFAULT'] if k.endswith('_requirements')]
PROMISED = ('train', 'gpu', 'review', 'scale', 'docs', 'dev')
# what an import must find that is no Python file
DATA = ('conf/config.yaml', 'conf/train/quickstart.yaml', 'conf/prices.yaml', 'prompts/solve_ko.jinja', 'templates/dataset_card.md.jinja', 'samples/README.md')


def run(*command, **how):
    "Exit status and output of a command"
    p = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)
    return p.returncode, p.stdout


def line(ok, what, said=''):
    print(f"{'ok  ' if ok else 'FAIL'} {what}{': ' + said if said else ''}", flush=True)
    return ok


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
    "Whether `package` alone installs into a fresh environment, with its data, and imports there without its dependencies"
    place = folder/f"{python.replace('/', '_')}-{package.suffix.strip('.')}"
    if python == sys.executable: venv.create(place, with_pip=True)
    elif (made := run(python, '-m', 'venv', place))[0]: return line(False, f'{python} makes an environment', made[1][-500:])
    rc, said = run(place/'bin'/'pip', 'install', '-q', '--disable-pip-version-check', 'setuptools', 'wheel')
    rc, said = run(place/'bin'/'pip', 'install', '-q', '--disable-pip-version-check', '--no-deps', '--no-build-isolation', package)
    if rc: return line(False, f'{package.name} installs with {python}', said[-800:])
    test = f'import importlib.resources as r, reasondistill; f=r.files("reasondistill"); m=[d for d in {DATA!r} if not (f/d).is_file()]; assert not m, m; print(reasondistill.__version__)'
    rc, said = run(place/'bin'/'python', '-c', test, cwd=folder)
    return line(not rc, f'{package.name} installs and imports with {Path(python).name}', said.strip()[-300:])


def resolves(source, extra, constraints):
    "Whether pip finds a set of versions for the extra"
    rc, said = run(sys.executable, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--dry-run', *(('-c', constraints) if constraints else ()), f'{source}[{extra}]')
    why = next((l for l in reversed(said.splitlines()) if l.startswith('ERROR')), said[-300:]) if rc else ''
    return line(not rc, f'extra {extra} resolves', why)


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
    good = [line(not (lost := [e for e in PROMISED if e not in EXTRAS]), 'the promised extras are declared', ', '.join(lost))]
    with tempfile.TemporaryDirectory() as d:
        source = copied(Path(d)/'source')
        packages = built(source, Path(d))
        good.append(len(packages) == 2)
        good += [installs(p, python, Path(d)) for p in packages for python in a.python or [sys.executable]]
        if not a.quick: good += [resolves(source, e, a.constraints) for e in a.extras or EXTRAS]
    rc, said = run(sys.executable, '-m', 'pip', 'check', '--disable-pip-version-check')
    good.append(line(not rc, 'pip check here', said.strip().splitlines()[-1]))
    return 0 if all(good) else 1


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--licences', action='store_true', help='write the table of licences, nothing else')
    p.add_argument('--python', action='append', help='a Python to install with; may be given several times')
    p.add_argument('--extras', nargs='*', help='only these')
    p.add_argument('--constraints', default=str(ROOT/'constraints.txt'), help='versions to keep to; empty: none')
    p.add_argument('--quick', action='store_true', help='resolve no extras')
    sys.exit(main(p.parse_args()))
