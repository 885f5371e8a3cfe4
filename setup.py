"Builds the package from settings.ini, which nbdev reads too, so that every fact stands in one place."
from configparser import ConfigParser
from pathlib import Path
from setuptools import find_packages, setup

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(here/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']

# every key NAME_requirements becomes the extra NAME
extras = {k.removesuffix('_requirements'): v.split() for k,v in cfg.items() if k.endswith('_requirements')}

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    long_description=(here/'README.md').read_text(encoding='utf-8') if (here/'README.md').exists() else '',
    long_description_content_type='text/markdown', url=cfg['git_url'], author=cfg['author'], author_email=cfg['author_email'],
    license_expression='Apache-2.0', license_files=['LICENSE'], python_requires='>='+cfg['min_python'],
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research', 'Natural Language :: English',
                 'Natural Language :: Korean', 'Programming Language :: Python :: 3', 'Framework :: Jupyter'],
    packages=find_packages(include=['reasondistill', 'reasondistill.*']),
    package_data={'reasondistill': ['conf/**/*.yaml', 'prompts/*.jinja', 'templates/*.jinja', 'samples/*.jsonl', 'samples/README.md']},
    install_requires=cfg['requirements'].split(), extras_require=extras, zip_safe=False,
    entry_points={'console_scripts': cfg['console_scripts'].split(), 'nbdev': ['reasondistill=reasondistill._modidx:d']})
