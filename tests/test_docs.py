"""README and docs: what they link to and what their commands name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), ROOT / 'benchmarks/README.md']
TEXTS = {str(page.relative_to(ROOT)): page.read_text('utf-8') for page in PAGES}


def anchors(text):
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', TEXTS)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', TEXTS[page]):
        if target.startswith(('https://', 'http://')):
            continue
        path, _, anchor = target.partition('#')
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f'{page}: {target}'
        if anchor and file.suffix == '.md':
            assert anchor in anchors(file.read_text('utf-8')), f'{page}: {target}'


@pytest.mark.parametrize('page', TEXTS)
def test_commands_name_configs_and_modules_that_exist(page):
    for config in re.findall(r'--config=(configs/\w+\.py)', TEXTS[page]):
        assert (ROOT / config).exists(), f'{page}: {config}'
    pattern = r'python -m ((?:genesis_jax|data_prep|benchmarks)(?:\.\w+)*)'
    for module in re.findall(pattern, TEXTS[page].replace('\n', ' ')):
        path = ROOT.joinpath(*module.split('.'))
        assert path.with_suffix('.py').exists() or (path / '__main__.py').exists(), module
