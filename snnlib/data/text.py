r"""Words of text files, one after the other: the next word is the target at every step.

Prepared like the Penn Treebank's word stream: lower case, numbers as N, a mark <eos> at the end of
a sentence, no other punctuation, and <unk> for every word outside the vocabulary. The vocabulary
has the most frequent words of the training part (ties in alphabetical order), class 0 is <unk>.

The default text is the book's own pages, so it changes with the book; pass `files` for a fixed one.
From pages in Markdown, only the prose is taken; code and formulas in a sentence are <unk>, those
on lines of their own and markup are left out.

Source: Mikolov et al. 2010 (the preparation of the Penn Treebank, used by Herranz-Celotti & Rouat
2022, section 2.4); Marcus, Santorini, Marcinkiewicz 1993.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from snnlib.data import files as places
from snnlib.data.raw import Raw

Paths = str | Path | Sequence[str | Path]
NAME = "text"
UNKNOWN = "<unk>"
END = "<eos>"
TRAINING_SHARE = 0.9
ROOT = Path(__file__).resolve().parents[2]
"""Of the checkout, if the library runs from one."""


def read(
    split: str,
    *,
    files: Paths | None = None,
    test_files: Paths | None = None,
    steps: int = 35,
    vocabulary: int = 10_000,
    prepared: bool = False,
) -> Raw:
    """Sequences of words, [samples, T], and at each step the word that follows.

    Args:
        split: "train" (the first 90 % of the words) or "test" (the rest), unless `test_files`.
        files: Text files, UTF-8, in this order; `.md` files as Markdown. None: the book's pages if
            the library runs from a checkout, else all `.txt` and `.md` files in the folder `text`
            (`snnlib.data.files` says where).
        test_files: Text files of the test split; then all of `files` is for training.
        steps: Words T per sequence, >= 1; sequences do not overlap, the last words that do not
            fill one are left out.
        vocabulary: Number of classes at most, with <unk>, >= 2.
        prepared: Whether the files are word streams already, like the Penn Treebank's
            ptb.train.txt: words between spaces are taken as they are, a line is a sentence.

    Returns:
        Tokens, int64, a sequence; targets, int64, [samples, T]; the words as labels. The first
        sample starts the text, so samples in order are the text.

    Raises:
        FileNotFoundError: If a file is missing, or there is no text; names three ways to get it.
        ValueError: If a file is not UTF-8, the text is shorter than one sequence in each part, or
            an argument is outside its range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "rhyme.txt"
        ...     _ = path.write_text("One, two. One, two, 3! " * 20)
        ...     data = read("train", files=path, steps=4)
        >>> data.labels
        ('<unk>', '<eos>', 'one', 'two', 'N')
        >>> data.inputs[0].tolist(), data.targets[0].tolist()
        ([2, 3, 1, 2], [3, 1, 2, 3])
    """
    for name, number, least in (("steps", steps, 1), ("vocabulary", vocabulary, 2)):
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise ValueError(f"{name} must be an integer >= {least}, got {number!r}")
    stream = _stream(_paths(files), prepared)
    if test_files is None:
        training = round(TRAINING_SHARE * len(stream))
        parts = {"train": stream[:training], "test": stream[training:]}
    else:
        parts = {"train": stream, "test": _stream(_paths(test_files), prepared)}
    counts = Counter(parts["train"])
    counts.pop(UNKNOWN, None)
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[: vocabulary - 1]
    labels = (UNKNOWN, *frequent)
    number_of = {word: index for index, word in enumerate(labels)}
    part = parts[split]
    samples = (len(part) - 1) // steps
    if samples < 1:
        raise ValueError(
            f"the text must have more than {steps} words in each part, got {len(part)} for "
            f"{split!r}"
        )
    tokens = np.array([number_of.get(word, 0) for word in part[: samples * steps + 1]], np.int64)
    return Raw(
        tokens[:-1].reshape(samples, steps),
        tokens[1:].reshape(samples, steps).copy(),  # no memory shared with the inputs
        len(labels),
        sequence=True,
        standardize=False,
        labels=labels,
    )


def words(text: str, markdown: bool = False) -> list[str]:
    """The words of a text, as the head of this file says.

    Args:
        text: The text.
        markdown: Whether to take the prose only.

    Example:
        >>> words("It's 3.5 times θ (Eq. 10), isn't it? Yes.")
        ["it's", 'N', 'times', 'θ', 'eq', 'N', "isn't", 'it', '<eos>', 'yes', '<eos>']
        >>> words("Take `code` and $x^2$ from [a page](there.md).", markdown=True)
        ['take', '<unk>', 'and', '<unk>', 'from', 'a', 'page', '<eos>']
    """
    if markdown:
        for pattern in MARKUP:
            text = pattern.sub(" ", text)
        text = INLINE.sub(f" {UNKNOWN} ", text)
    found: list[str] = []
    marks = {"number": "N", "end": END, "unknown": UNKNOWN}
    for match in WORD.finditer(text.replace("\u2019", "'")):
        word = marks.get(match.lastgroup or "", match[0].lower())
        if word != END or found[-1:] != [END]:  # "?!" and ". . ." end one sentence
            found.append(word)
    return found


# No end of a sentence: "e.g. this", "Eq. 10", "3.5".
WORD = re.compile(
    r"(?P<unknown><unk>)|(?P<number>\d+(?:[.,]\d+)*)"
    r"|(?P<end>[.!?]+(?=[\"')\]]*(?:\s+[^\sa-z\d]|\s*\Z)))"
    r"|(?P<word>[^\W\d_]+(?:'[^\W\d_]+)*)"
)
INLINE = re.compile(r"`[^`\n]*`|\$[^$\n]+\$")  # code and formulas in a sentence: <unk>
MARKUP = [
    re.compile(r"\A---\n.*?\n---(?=\n)", re.DOTALL),  # header
    re.compile(r"^(`{3,}|~{3,}).*?^\1", re.DOTALL | re.MULTILINE),  # code, directives
    re.compile(r"<!--.*?-->|^%.*?$", re.DOTALL | re.MULTILINE),  # comments
    re.compile(r"\$\$.*?\$\$", re.DOTALL),  # formulas of their own
    re.compile(r"\{[\w:-]+\}(?=`)"),  # names of roles
    re.compile(r"(?<=\])\([^)\s]*\)|^\([\w:-]+\)=$|https?://\S+", re.MULTILINE),  # targets
    re.compile(r"^:::+.*$|^:[\w-]+:.*$|^\|?[-:| ]+\|?$", re.MULTILINE),  # fences, options
]


def _stream(paths: Sequence[Path], prepared: bool) -> list[str]:
    if not prepared:
        return [word for path in paths for word in words(_text(path), path.suffix == ".md")]
    return [
        word for path in paths for line in _text(path).splitlines() for word in (*line.split(), END)
    ]


def _paths(given: Paths | None) -> list[Path]:
    if given is not None:
        listed = [given] if isinstance(given, (str, Path)) else list(given)
        if not listed:
            raise ValueError("files must name at least one text file, got none")
        return [Path(path) for path in listed]
    book = [
        path
        for folder in ("book", "notebooks")
        for path in sorted((ROOT / folder).glob("*.md"))
        if (ROOT / "_toc.yml").is_file()
    ]
    if book:
        return book
    for folder in places.folders(NAME):
        if found := sorted(path for path in folder.glob("*") if path.suffix in (".txt", ".md")):
            return found
    raise places.absent(
        NAME,
        "a text (the book's pages are not here: the library does not run from a checkout)",
        files="text files (.txt or .md)",
        first="pass files=[...] with the paths of text files",
        downloads=False,
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
