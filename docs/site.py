"""What the site of these pages needs beyond them: a front page, and no links out of them.

MkDocs calls the functions by their names.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
FRONT = {'index.md': 'README.md', 'index.zh.md': 'README.zh.md'}


def on_files(files: Files, config: Any) -> Files:
    """The README is the front page."""
    for name, source in FRONT.items():
        text = (ROOT / source).read_text(encoding='utf-8')
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are seen from the pages; what is beside them is named, not linked."""
    for name, source in FRONT.items():
        markdown = markdown.replace(f']({source}', f']({name}')
    if page.file.src_uri in FRONT:
        markdown = re.sub(r'\]\(docs/', '](', markdown)
        elsewhere = r'(?!\w+:|#|\w[\w./]*\.(?:md|png))[^)]+'
        markdown = re.sub(rf'\[([^\]]+)\]\({elsewhere}\)', r'`\1`', markdown)
    return re.sub(r'\[`?([^\]`]+)`?\]\(\.\./[^)]+\)', r'`\1`', markdown)
